"""Indices of packages of our own."""

import hashlib
import zipfile
from pathlib import Path


def write_wheel(index: Path, name: str, version: str) -> str:
    """Add a package to an index, a folder in the form of PEP 503; return the wheel's hash."""
    module = name.replace("-", "_")
    information = f"{module}-{version}.dist-info"
    path = index / name / f"{module}-{version}-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    files = {
        f"{module}.py": "",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{information}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{information}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(zipfile.ZipInfo(file), text)
    links = (f'<a href="{wheel.name}">{wheel.name}</a>' for wheel in sorted(path.parent.glob("*.whl")))
    (path.parent / "index.html").write_text("<!DOCTYPE html><html><body>" + "\n".join(links) + "</body></html>")
    return hashlib.sha256(path.read_bytes()).hexdigest()
