"""What Holdfast does, one module per verb: each joins the engine and the repository and announces events."""
