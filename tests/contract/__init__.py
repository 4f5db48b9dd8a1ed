"""One suite that holds every storage to the port's contract, and the faults each adapter must survive."""
