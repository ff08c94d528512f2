"""`python -m tased_ext` prints what a bug report needs."""

from __future__ import annotations

from . import build_info


def main() -> None:
    """Print the facts of `tased_ext.build_info`, one a line."""
    facts = build_info()
    libraries = facts.pop("libraries")
    for name, fact in {**facts, **libraries}.items():
        print(f"{name.replace('_', ' ') if name in facts else name:<20}{fact}")


if __name__ == "__main__":
    main()
