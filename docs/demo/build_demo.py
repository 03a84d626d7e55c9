"""Collect the files of the demonstration that are not in the repository: runtime and network.

    python docs/demo/build_demo.py

`build` writes a folder for Sphinx's `html_extra_path`. It holds demo/symbols.js and
demo/symbols.css, demo/model.js with the network of make_model.py and drawings to begin with, and
demo/runtime.js with ONNX Runtime Web, which npm downloads. These are plain scripts, since a browser
that opens a page from the disk lets it load scripts only: no modules, and no other files.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import make_model
import numpy as np

from sklearn_meta.datasets import load_characters

HERE = Path(__file__).parent
RUNTIME = "onnxruntime-web"
VERSION = "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
DRAWERS = (0, 7, 14, 19)  # whose drawings the page shows


class DownloadError(RuntimeError):
    """npm could not download the runtime."""


def build(folder: Path = HERE.parent / "_build" / "demo") -> Path | None:
    """Write the files, and return the folder for `html_extra_path`.

    Parameters
    ----------
    folder : Path
        Where to work. The runtime and the network stay there for the next call, the network until
        make_model.py changes.

    Returns
    -------
    Path or None
        The folder. It is None if npm is missing; the page then says that it has no demonstration.

    Raises
    ------
    DownloadError
        If npm cannot download the runtime.
    """
    npm = shutil.which("npm")
    if npm is None:
        print("npm was not found: the site is built without the demonstration.")
        return None
    folder.mkdir(parents=True, exist_ok=True)
    runtime_script = runtime(npm, folder)  # first: without a network there is nothing to train for
    onnx = folder / "model.onnx"
    if not onnx.exists() or onnx.stat().st_mtime < Path(make_model.__file__).stat().st_mtime:
        make_model.main(folder)
    site = folder / "site"
    demo = site / "demo"
    demo.mkdir(parents=True, exist_ok=True)
    (demo / "runtime.js").write_text(runtime_script, encoding="utf-8")
    (demo / "model.js").write_text(model(onnx), encoding="utf-8")
    for name in ("symbols.js", "symbols.css"):
        shutil.copy(HERE / name, demo)
    return site


def runtime(npm: str, folder: Path) -> str:
    """Return ONNX Runtime Web for one thread as one script, and its WebAssembly in base64."""
    archive = folder / f"{RUNTIME}-{VERSION}.tgz"
    if not archive.exists():
        command = [npm, "pack", f"{RUNTIME}@{VERSION}", "--pack-destination", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise DownloadError(f"{' '.join(command)} failed:\n{done.stderr}")
    if text(hashlib.sha512(archive.read_bytes()).digest()) != SHA512:
        raise DownloadError(f"{archive} is not the published {RUNTIME} {VERSION}. Delete it.")
    with tarfile.open(archive) as files:
        library, loader, wasm = (
            files.extractfile(f"package/dist/{name}").read()
            for name in (
                "ort.wasm.min.js",
                "ort-wasm-simd-threaded.mjs",
                "ort-wasm-simd-threaded.wasm",
            )
        )
    parts = {"loader": loader.decode(), "wasm": text(gzip.compress(wasm, mtime=0))}
    return f"{library.decode()}\nconst symbolsRuntime = {json.dumps(parts)};\n"


def model(onnx: Path) -> str:
    """Return a script with the network, and with drawings of characters that are new to it."""
    new = load_characters(subset="evaluation")
    chosen = np.isin(new.drawer, DRAWERS)
    bits = np.packbits(new.data[chosen].astype(bool))
    parts = {"onnx": text(onnx.read_bytes()), "drawings": text(bits.tobytes())}
    return f"const symbolsModel = {json.dumps(parts | {'drawers': len(DRAWERS)})};\n"


def text(content: bytes) -> str:
    """Encode bytes for a script."""
    return base64.b64encode(content).decode()


if __name__ == "__main__":
    print(build())
