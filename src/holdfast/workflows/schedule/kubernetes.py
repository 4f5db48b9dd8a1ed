"""One CronJob (batch/v1) for each task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from holdfast.workflows.schedule.elsewhere import quoted, require_nothing_local, secret_names, slug
from holdfast.workflows.schedule.tasks import SETTINGS, Job, SourceSchedule, Surroundings, Task, UnitFile

NO_IMAGE = (
    "SET-THE-IMAGE"  # no image can be called so: the pod says InvalidImageName instead of running another's
)
_LONGEST_NAME = 52  # a CronJob adds eleven characters for its jobs
_LIMIT_GRACE = timedelta(minutes=5)


def write_kubernetes(schedules: Sequence[SourceSchedule], surroundings: Surroundings) -> tuple[UnitFile, ...]:
    require_nothing_local(schedules, where="a pod")
    return tuple(_file(schedule, surroundings) for schedule in schedules)


def _file(schedule: SourceSchedule, surroundings: Surroundings) -> UnitFile:
    name = slug(schedule.source, longest=40)
    lines = [
        f"# Holdfast: {schedule.source}. Needs Kubernetes 1.27 or later (timeZone).",
        "# The settings hold addresses, so they are a secret, too:",
        f"#   kubectl create secret generic holdfast-settings --from-file={SETTINGS}",
    ]
    if names := secret_names(schedule):
        lines += [
            f"#   kubectl create secret generic holdfast-{name} --from-env-file={name}.env",
            f"# where the file has NAME=value for: {', '.join(names)}",
        ]
    if surroundings.image is None:
        lines.append(
            "# Give the image with --image: it has to hold holdfast and PostgreSQL's client programs."
        )
    return UnitFile(
        name=f"holdfast-{name}.yaml",
        text="\n".join(
            [*lines, *(line for task in schedule.tasks for line in _job(schedule, task, surroundings))]
        )
        + "\n",
    )


def _job(schedule: SourceSchedule, task: Task, surroundings: Surroundings) -> Iterator[str]:
    secret = f"holdfast-{slug(schedule.source, longest=40)}"
    environment = [
        line
        for name in secret_names(schedule)
        for line in (
            f"                - name: {name}",
            "                  valueFrom:",
            f"                    secretKeyRef: {{name: {secret}, key: {name}}}",
        )
    ]
    limit = schedule.max_runtime if task.job is Job.BACKUP else None
    deadline = (
        []
        if limit is None
        else [f"      activeDeadlineSeconds: {int((limit + _LIMIT_GRACE).total_seconds())}"]
    )
    yield from (
        "---",
        f"# {task.meaning}",
        "apiVersion: batch/v1",
        "kind: CronJob",
        "metadata:",
        f"  name: {slug(f'holdfast-{task.name}-{schedule.source}', longest=_LONGEST_NAME)}",
        "  labels: {app.kubernetes.io/name: holdfast}",
        "spec:",
        f"  schedule: {quoted(task.timetable.expression)}",
        "  timeZone: Etc/UTC",
        "  # A run that still goes on is not joined by a second; the program would step aside, too.",
        "  concurrencyPolicy: Forbid",
        "  startingDeadlineSeconds: 240",
        "  successfulJobsHistoryLimit: 1",
        "  failedJobsHistoryLimit: 3",
        "  jobTemplate:",
        "    spec:",
        "      # Not tried again in a hurry: the next run reuses what this one has stored.",
        "      backoffLimit: 0",
        *deadline,
        "      template:",
        "        metadata:",
        "          labels: {app.kubernetes.io/name: holdfast}",
        "        spec:",
        "          restartPolicy: Never",
        "          terminationGracePeriodSeconds: 30",
        "          automountServiceAccountToken: false",
        "          securityContext:",
        "            runAsNonRoot: true",
        "            runAsUser: 65532",
        "            fsGroup: 65532",
        "            seccompProfile: {type: RuntimeDefault}",
        "          containers:",
        "            - name: holdfast",
        f"              image: {quoted(surroundings.image or NO_IMAGE)}",
        f"              command: [{', '.join(map(quoted, ('holdfast', *task.arguments)))}]",
        "              workingDir: /settings",
        "              env:",
        "                - {name: HOME, value: /tmp}",
        *environment,
        "              resources:",
        "                requests: {cpu: 250m, memory: 512Mi}",
        "              securityContext:",
        "                allowPrivilegeEscalation: false",
        "                readOnlyRootFilesystem: true",
        "                capabilities: {drop: [ALL]}",
        "              volumeMounts:",
        "                - {name: settings, mountPath: /settings, readOnly: true}",
        "                - {name: temporary, mountPath: /tmp}",
        "          volumes:",
        "            - {name: settings, secret: {secretName: holdfast-settings, defaultMode: 0440}}",
        "            - {name: temporary, emptyDir: {}}",
    )
