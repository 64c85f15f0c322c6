"""List what the bot's wheel brings with it: each package, its version and its licence."""

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "dokku-deploybot"


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, str]]) -> Iterator[str]:
    """The names of everything that a package with these extras installs here, itself left out."""
    for line in distribution(name).requires or ():
        wanted = Requirement(line)
        for extra in extras | {""}:
            key = (canonicalize_name(wanted.name), ",".join(sorted(wanted.extras)))
            applies = wanted.marker is None or wanted.marker.evaluate({"extra": extra})
            if applies and key not in seen:
                seen.add(key)
                yield key[0]
                yield from needed(wanted.name, frozenset(wanted.extras), seen)


def licence_of(name: str) -> str:
    """The licence that a package declares; empty: it declares none."""
    metadata = distribution(name).metadata
    declared = metadata.json.get("license_expression") or ""
    classified = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or ()
        if line.startswith("License :: ") and not line.endswith(":: OSI Approved")
    ]
    # Old packages put the whole text of the licence there.
    short = str(metadata.json.get("license") or "").partition("\n")[0]
    return str(declared) or " OR ".join(classified) or short


def licences() -> dict[str, tuple[str, str]]:
    """Package -> version and licence, in order of names."""
    names = set(needed(PROJECT, frozenset({"postgres", "sentry", "otel"}), set()))
    return {name: (distribution(name).version, licence_of(name)) for name in sorted(names)}


def main() -> int:
    """Print them. Returns 1 if a package declares none."""
    try:
        found = licences()
    except PackageNotFoundError as missing:
        sys.stderr.write(f"{missing.name} is not installed. Run `make setup` first.\n")
        return 1
    for name, (version, licence) in found.items():
        print(f"{name} {version}: {licence or 'NONE DECLARED'}")
    return 0 if all(licence for _, licence in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
