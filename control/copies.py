"""What must hold before a copy may be followed or compared: same production, same key, same rules."""

from __future__ import annotations

from capture.model import DatabaseIdentity, Refused
from control.project import Project
from sink.progress import Progress
from transform.plan import Plan


def clone_again(project: Project) -> str:
    """What to do where nothing else helps."""
    return f"Clone again: tezcat clone --source {project.source.name} --target {project.target.name}."


def no_copy(project: Project) -> Refused:
    """There is no whole copy in the target."""
    return Refused(
        f"environment {project.target_address.label} holds no finished copy.",
        hint=f"Make one: tezcat clone --source {project.source.name} --target {project.target.name}.",
    )


def check_copy(project: Project, state: Progress | None, plan: Plan, production: DatabaseIdentity) -> Progress:
    """The progress row of a whole copy that this production, these rules and this key made. Raises ``Refused``."""
    if state is None or state.consistent_lsn is None:
        raise no_copy(project)
    if state.production != production:
        raise Refused(
            f"the copy in {project.target.name} was made from another database (system identifier "
            f"{state.system_identifier}, database {state.database}) than {project.source.name} is now.",
            hint=clone_again(project),
        )
    if state.key_check != plan.key_check:
        raise Refused(
            f"the copy in {project.target.name} was masked with another key: new rows would not join with old ones.",
            hint=f"Give back the key that it was cloned with. {clone_again(project)}",
        )
    if state.rules_fingerprint != plan.fingerprint:
        raise Refused(
            f"the rules have changed since {project.target.name} was cloned: old and new rows would be masked "
            "differently.",
            hint=f"Give back those rules. {clone_again(project)}",
        )
    return state
