"""Write the type stubs of the compiled modules from the modules themselves: tools/stubs.py FOLDER."""

import subprocess
import sys
import tempfile
from pathlib import Path

# _engine links against torch's libraries and names its types, so torch comes first; _core must do without.
FIRST = {"_core": "", "_engine": "import torch; "}


def generate(module: str) -> str:
    """Return the stub of `module`, "_core" or "_engine", as generated."""
    code = f"{FIRST[module]}import sys; from pybind11_stubgen import main; main(sys.argv[1:])"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", code, f"sycophancy_core.{module}", "-o", folder, "--exit-code"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"stubs: pybind11-stubgen failed on {module}:\n{done.stdout}{done.stderr}")
        return (Path(folder) / "sycophancy_core" / f"{module}.pyi").read_text()


if __name__ == "__main__":
    for name in FIRST:
        (Path(sys.argv[1]) / f"{name}.pyi").write_text(generate(name))
