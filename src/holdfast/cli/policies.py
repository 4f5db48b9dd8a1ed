"""`holdfast doctor --policies`: rights to copy into the provider's console, or into a script as one document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from holdfast.cli.documents import Document
    from holdfast.workflows.policies import PoliciesReport


def document_of_policies(report: PoliciesReport) -> Document:
    return {
        "repository": report.address,
        "policies": {policy.role: policy.document for policy in report.policies},
        "lifecycle": report.lifecycle,
        "notes": list(report.notes),
    }


def text_of_policies(report: PoliciesReport) -> Iterator[RenderableType]:
    yield Text(f"repository: {report.address}")
    for policy in report.policies:
        yield Text("")
        yield Text(f"{policy.role}: {policy.purpose}")
        yield Text(json.dumps(policy.document, indent=2))
    if report.lifecycle is not None:
        yield Text("")
        yield Text("lifecycle rules of the bucket:")
        yield Text(json.dumps(report.lifecycle, indent=2))
    yield Text("")
    for note in report.notes:
        yield Text(f"note: {note}")
