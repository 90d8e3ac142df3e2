"""Build the images of this project by docker, podman or buildah, from its lock.

The engine is given a folder with the Dockerfile and lists of locked packages: nothing else can get into an image. What
pip is told on this machine (indices, passwords, certificates) it is told in the build too, by secrets of the engine.
Which image came of it is written to `docker/training-image.yaml` or `docker/development-image.yaml`, by its digest.
"""

import ast
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from environment import (  # pyright: ignore[reportImplicitRelativeImport]  its neighbour, as both are programs
    CUDA_PACKAGE,
    PROJECT,
    TOOLS,
    Requirement,
    SetupError,
    choose_groups,
    normalize,
    parse_requirements,
    run,
    run_poetry,
    set_up_tools,
)

DOCKERFILE = PROJECT / "docker" / "training.Dockerfile"
ENGINES = ("docker", "podman", "buildah")
# What pip is told on this machine that holds in a build too; the rest is about this machine.
SETTINGS = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy", "timeout", "retries")


@dataclass(frozen=True, kw_only=True)
class Image:
    """What is to be built.

    :param target: The stage of the Dockerfile, `training` or `development`.
    :param name: Its name, without a tag.
    :param base: The image that it is built on.
    :param python: The version of Python, such as `3.11`.
    :param torch: The build of PyTorch, `cpu` or `cuda`.
    :param platform: The kind of machine that it is for; empty for this one.
    """

    target: str
    name: str
    base: str
    python: str
    torch: str
    platform: str


def choose_image(target: str, variables: Mapping[str, str]) -> Image:
    """Choose what to build.

    :param target: `training` or `development`.
    :param variables: The environment, with the variables of `make/image.mk`.
    :return: The image.
    :raises SetupError: A variable has a value that cannot be.
    """
    torch = variables.get("TORCH") or "cuda"
    if torch not in {"cpu", "cuda"}:
        raise SetupError(f"TORCH={torch} is not a build of PyTorch for an image; choose TORCH=cuda or TORCH=cpu")
    registry = variables.get("DOCKER_URL", "").rstrip("/")
    if variables.get("PUSH") and not registry:
        raise SetupError("PUSH=1 needs a registry: name it in .envrc, default DOCKER_URL registry.example.org/my-group")
    version = re.match(r"3\.\d+", (PROJECT / ".python-version").read_text())
    if version is None:
        raise SetupError("The file .python-version must begin with a version such as 3.11")
    name = normalize(tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["name"])
    return Image(
        target=target,
        name=f"{registry or 'localhost'}/{name}{'' if target == 'training' else f'-{target}'}",
        base=variables.get("BASE_IMAGE") or f"python:{version[0]}-bookworm",
        python=version[0],
        torch=torch,
        platform=variables.get("PLATFORM", ""),
    )


def last_line(text: str) -> str:
    """Return the last line of a message, in which programs say what is wrong."""
    return text.strip().rpartition("\n")[2]


def find_engine(requested: str) -> str:
    """Find what can build images on this machine.

    :param requested: The one to use; empty for the first that answers.
    :return: Its name.
    :raises SetupError: None answers.
    """
    if requested and requested not in ENGINES:
        raise SetupError(f"ENGINE={requested} is none of {', '.join(ENGINES)}")
    silent = list[str]()
    for name in [requested] if requested else ENGINES:
        if shutil.which(name):
            # Only docker has a daemon behind it, which may be away or not meant for this user.
            question = [name, "version"] if name == "docker" else [name, "info"]
            done = subprocess.run(question, capture_output=True, text=True, check=False)
            if not done.returncode:
                return name
            silent.append(f"{name} does not answer: {last_line(done.stderr)}")
    missing = f"{requested} is not installed" if requested else "There is no docker, podman or buildah"
    raise SetupError("; ".join(silent) or f"{missing}. Install it, for example with: sudo apt-get install podman")


def pip_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Find what pip is told on this machine.

    :param variables: The environment.
    :return: The settings of `pip install` by name; of several places that name one, the value that pip would take.
    """
    listed = run(TOOLS / "bin" / "python", "-m", "pip", "config", "list", stdout=subprocess.PIPE)
    found: list[tuple[str, str, str]] = re.findall(
        r"^(global|install|:env:)\.([a-z-]+)=(.+)$", listed, flags=re.MULTILINE
    )
    order = ("global", "install", ":env:")
    settings = {name: ast.literal_eval(value) for _, name, value in sorted(found, key=lambda one: order.index(one[0]))}
    for name, variable in {"index-url": "UV_DEFAULT_INDEX", "cert": "REQUESTS_CA_BUNDLE"}.items():
        if variables.get(variable):
            settings.setdefault(name, variables[variable])
    return settings


def write_settings(settings: Mapping[str, str], file: Path) -> None:
    """Write a configuration of pip.

    :param settings: What pip is told.
    :param file: The file, which only its owner may read.
    """
    lines = [f"{name} = {' '.join(settings[name].split())}\n" for name in SETTINGS if name in settings]
    if "cert" in settings:
        lines.append("cert = /run/secrets/certificates\n")
    file.touch(mode=0o600)
    file.write_text("[global]\n" + "".join(lines))


def write_secrets(folder: Path, torch_index: str, variables: Mapping[str, str]) -> dict[str, Path]:
    """Write what it takes to reach the packages, for the time of the build.

    :param folder: An empty folder that only its owner may enter.
    :param torch_index: The address of an index for PyTorch; empty for the usual one.
    :param variables: The environment.
    :return: Files by the names that the Dockerfile has for them.
    """
    settings = pip_settings(variables)
    secrets = {"pip": folder / "pip", "torch": folder / "torch"}
    write_settings(settings, secrets["pip"])
    write_settings(settings | ({"index-url": torch_index} if torch_index else {}), secrets["torch"])
    further = {
        "certificates": Path(settings.get("cert", "")).expanduser(),
        "netrc": Path(variables.get("NETRC") or "~/.netrc").expanduser(),
    }
    return secrets | {name: path for name, path in further.items() if path.is_file()}


def export_lock(*groups: str) -> list[Requirement]:
    """Read the lock.

    :param groups: The groups to read beside the main one.
    :return: Their requirements.
    :raises SetupError: There is no lock for this pyproject.toml.
    """
    try:
        return parse_requirements(
            run_poetry("export", *(f"--with={group}" for group in groups), stdout=subprocess.PIPE)
        )
    except subprocess.CalledProcessError as error:
        raise SetupError("poetry.lock cannot be read (see above); repair it with: make lock") from error


def write_context(folder: Path, image: Image) -> None:
    """Write all that an image is made from.

    :param folder: An empty folder.
    :param image: The image.
    :raises SetupError: There is no lock for this pyproject.toml.
    """
    shutil.copy(DOCKERFILE, folder)
    requirements = export_lock()
    lists = {
        "torch.txt": [one.text for one in requirements if CUDA_PACKAGE.fullmatch(one.name)],
        "packages.txt": [one.text for one in requirements if not CUDA_PACKAGE.fullmatch(one.name)],
    }
    if image.torch == "cpu":
        # Without a hash: the lock holds that of the build with CUDA.
        lists["torch.txt"] = [f"torch=={one.version}+cpu\n" for one in requirements if one.name == "torch"]
    if image.target == "development":
        groups = choose_groups(tomllib.loads((PROJECT / "pyproject.toml").read_text()), [])
        lists["development.txt"] = [one.text for one in export_lock(*groups) if not CUDA_PACKAGE.fullmatch(one.name)]
        lists["lock.sha256"] = [hashlib.sha256((PROJECT / "poetry.lock").read_bytes()).hexdigest()]
        shutil.copy(PROJECT / "make" / "tools.txt", folder)
    for name, texts in lists.items():
        (folder / name).write_text("".join(texts))


def hash_files(folder: Path, *values: str) -> str:
    """Hash what an image is made from.

    :param folder: The files.
    :param values: What else decides about it.
    :return: The hash, in hexadecimal digits.
    """
    contents = {path.name: path.read_bytes().hex() for path in folder.iterdir()}
    return hashlib.sha256(json.dumps([contents, values], sort_keys=True).encode()).hexdigest()


def make_command(
    engine: str, image: Image, tags: Sequence[str], context: Path, secrets: Mapping[str, Path]
) -> list[str]:
    """Write the command line that builds an image, but for the user's own options and the folder.

    :param engine: What builds.
    :param image: What to build.
    :param tags: Its names with tags.
    :param context: The folder with all that it is made from.
    :param secrets: Files by the names that the Dockerfile has for them.
    :return: The program and its arguments.
    """
    return [
        *((engine, "bud", "--layers") if engine == "buildah" else (engine, "build")),
        *(f"--file={context / DOCKERFILE.name}", f"--target={image.target}"),
        *(f"--build-arg=BASE_IMAGE={image.base}", f"--build-arg=PYTHON_VERSION={image.python}"),
        *(f"--tag={tag}" for tag in tags),
        *([f"--platform={image.platform}"] if image.platform else []),
        *(f"--secret=id={name},src={path}" for name, path in secrets.items()),
    ]


def ask(*command: str) -> str:
    """Return what a command prints.

    :param command: The program and its arguments.
    :raises SetupError: It failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SetupError(f"{shlex.join(command)} failed: {last_line(done.stderr)}")
    return done.stdout.strip()


def find_digest(engine: str, image: str, name: str) -> str:
    """Find how to name an image so that no other one can ever be meant.

    :param engine: Holds the image.
    :param image: The engine's own id of it, or a tag.
    :param name: The image's name, without a tag.
    :return: The name with the digest of the image's manifest; the id where docker has no digest before it is pushed.
    :raises SetupError: The engine failed.
    """
    if engine == "docker":
        digests: list[str] = json.loads(ask(engine, "image", "inspect", "--format={{json .RepoDigests}}", image)) or []
        return next((digest for digest in digests if digest.startswith(f"{name}@")), image)
    if engine == "podman":
        return f"{name}@{ask(engine, 'image', 'inspect', '--format={{.Digest}}', image)}"
    return f"{name}@{ask(engine, 'inspect', '--type=image', '--format={{.FromImageDigest}}', image)}"


def push(engine: str, image: Image, tag: str, folder: Path) -> str:
    """Push an image to its registry.

    :param engine: Holds the image.
    :param image: The image.
    :param tag: Its name with a tag.
    :param folder: Takes a file.
    :return: Its name with the digest under which the registry has it.
    :raises SetupError: The registry did not take it.
    """
    digest = folder / "digest"
    options = [] if engine == "docker" else [f"--digestfile={digest}"]
    try:
        run(engine, "push", *options, tag)
    except subprocess.CalledProcessError as error:
        message = f"{tag} could not be pushed (see above). Where the registry asks who you are: {engine} login"
        raise SetupError(message) from error
    return f"{image.name}@{digest.read_text().strip()}" if digest.exists() else find_digest(engine, tag, image.name)


def record(image: Image, tag: str, digest: str) -> None:
    """Write down which image the project has now, at once or not at all.

    :param image: The image.
    :param tag: Its name with a tag.
    :param digest: Its name with a digest.
    """
    file = PROJECT / "docker" / f"{image.target}-image.yaml"
    facts = {"digest": digest, "tag": tag, "base": image.base, "python": image.python, "torch": image.torch}
    lines = [f"{name}: {json.dumps(value)}\n" for name, value in facts.items()]
    temporary = file.with_suffix(".new")
    temporary.write_text(f"# Written by: make {image.target}-image\n" + "".join(lines))
    temporary.replace(file)


def build(image: Image, variables: Mapping[str, str]) -> None:
    """Build an image, push it if that is wanted, and record which one it is.

    :param image: What to build.
    :param variables: The environment, with the variables of `make/image.mk`.
    :raises SetupError: It could not be built or pushed.
    """
    engine = find_engine(variables.get("ENGINE", ""))
    set_up_tools()
    with tempfile.TemporaryDirectory() as folder:
        context, private = Path(folder, "context"), Path(folder, "private")
        context.mkdir()
        private.mkdir(mode=0o700)
        write_context(context, image)
        tag = f"{image.name}:{hash_files(context, image.base, image.platform)[:12]}"
        secrets = write_secrets(private, variables.get("TORCH_INDEX", ""), variables)
        command = make_command(engine, image, [tag, f"{image.name}:latest"], context, secrets)
        options = shlex.split(variables.get("IMAGE_OPTIONS", ""))
        identity = private / "identity"
        try:
            run(*command, f"--iidfile={identity}", *options, context)
        except subprocess.CalledProcessError as error:
            advice = "; where it found no CPU build of PyTorch, name the index of one: TORCH_INDEX=..."
            message = f"{engine} could not build the image (see above){advice if image.torch == 'cpu' else ''}"
            raise SetupError(message) from error
        if image.target == "training" and variables.get("PUSH"):
            digest = push(engine, image, tag, private)
        else:
            digest = find_digest(engine, identity.read_text().strip(), image.name)
    record(image, tag, digest)
    print(f"{tag}\n{digest}")


def main(arguments: Sequence[str]) -> int:
    """Build one image.

    :param arguments: `training` or `development`.
    :return: The exit code.
    """
    match list(arguments):
        case ["training" | "development" as target]:
            pass
        case _:
            print("Usage: image.py training | development", file=sys.stderr)
            return 2
    try:
        build(choose_image(target, os.environ), os.environ)
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return error.returncode
    except KeyboardInterrupt:
        print(f"Interrupted. Build the image again with: make {target}-image", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
