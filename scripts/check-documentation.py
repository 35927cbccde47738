"""Run what the documentation shows: python scripts/check-documentation.py [--write].

The blocks of one language on one page, joined, are one program: Python, C and Swift are built
and run in an empty folder, and blocks marked "output" are what the page's Python prints. Blocks
marked "python MODULE" are left out, with their output, where that module is not installed. JSON
blocks are configurations, or parts of one, and must be accepted. Console blocks are commands after
"$ ", continued after "> ", and what they print, all in one folder. Relative links must lead
somewhere. With --write the "output" and console blocks are filled with what is printed now. Needs
the package `dynamoe`, the built library, and for console blocks the built command.
"""

import copy
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = ROOT / ".build-command" / "bin"
LIBRARY = ROOT / ".build-library" / "lib"
CATALOG = ROOT / "Sources" / "DynaMoE" / "DynaMoE.docc"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(CATALOG.glob("*.md")),
]
MARK = "---end of a shown output---"
COMPLETE = {
    "task": "classification",
    "inputs": 8,
    "outputs": 3,
    "width": 16,
    "experts": [4, 4],
    "router": {"kind": "threshold", "target_active": 2},
}


def blocks(text, language):
    """Return the fenced blocks of `language`, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run(command, folder, **variables):
    """Run a command in `folder`; raise with its words when it fails."""
    environment = {**os.environ, "MPLBACKEND": "Agg", "LD_LIBRARY_PATH": str(LIBRARY), **variables}
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    if result.returncode != 0:
        words = result.stdout + result.stderr
        raise AssertionError(f"{command[0]} returned {result.returncode}\n{words}")
    return result.stdout


def has_modules(names):
    """Return whether all modules can be imported."""
    return all(importlib.util.find_spec(name) for name in names)


def check_python(page, write):
    """Run the page's Python and compare what it prints with what the page shows."""
    parts = re.split(
        r"^(```(?:python(?: \w+)?|output)\n.*?^```$)", page.read_text(), flags=re.M | re.S
    )
    code, shown, left_out = "", [], False
    for index, part in enumerate(parts):
        fence, _, rest = part.partition("\n")
        if fence.startswith("```python"):
            left_out = not has_modules(fence.split()[1:])
            code += "" if left_out else rest.removesuffix("```")
        elif fence == "```output" and not left_out:
            code += f"print({MARK!r})\n"
            shown.append(index)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.py").write_text(code)
        printed = iter(run([sys.executable, "page.py"], folder).split(f"{MARK}\n"))
    for index in shown:
        part, now = parts[index], f"```output\n{next(printed)}```"
        assert write or part == now, f"the page shows\n{part}\nbut this is printed\n{now}"
        parts[index] = now
    if write:
        page.write_text("".join(parts))


def check_console(page, write):
    """Run the page's commands one after the other and compare what they print."""
    parts = re.split(r"^(```console\n.*?^```$)", page.read_text(), flags=re.M | re.S)
    path = os.pathsep.join([str(COMMAND), str(Path(sys.executable).parent), os.environ["PATH"]])
    with tempfile.TemporaryDirectory() as folder:
        for index, part in enumerate(parts):
            if not part.startswith("```console\n"):
                continue
            now = "```console\n"
            for shown in re.findall(r"^\$ .*\n(?:> .*\n)*", part, re.M):
                command = re.sub(r"^(?:\$|>) ", "", shown, flags=re.M)
                variables = {"PATH": path, "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
                now += shown + run(["bash", "-ec", command], folder, **variables)
            now += "```"
            assert write or part == now, f"the page shows\n{part}\nbut this happens\n{now}"
            parts[index] = now
    if write:
        page.write_text("".join(parts))


def check_c(code, folder):
    """Compile the page's C strictly, as C11 against the header and library, and run it."""
    (folder / "page.c").write_text(code)
    flags = ["-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{ROOT / 'Include'}"]
    run(["cc", *flags, "page.c", f"-L{LIBRARY}", "-ldynamoe", "-lm", "-o", "page"], folder)
    run([str(folder / "page")], folder)


def check_swift(code, folder):
    """Compile the page's Swift against the modules that the library was built from; run it."""
    (folder / "main.swift").write_text(code)
    build = LIBRARY.parent / "release"
    objects = sorted(str(path) for path in build.glob("*.build/*.o"))
    objects = [path for path in objects if "/DynaMoEC.build/" not in path]
    folders = [build / "Modules", ROOT / "Sources" / "CDynaMoEPlatform" / "include"]
    flags = ["-O", *(f"-I{path}" for path in folders)]
    run(["swiftc", *flags, "main.swift", *objects, "-o", "page"], folder)
    run([str(folder / "page")], folder)


def check_json(text):
    """Create what a configuration describes; a part of one is first put into a complete one."""
    import dynamoe

    given = json.loads(text)
    if "task" in given:
        dynamoe.Model(given).close()
    elif isinstance(given.get("experts"), int):
        dynamoe.MoELayer(given).close()
    else:
        dynamoe.Model({**copy.deepcopy(COMPLETE), **given}).close()


def check_links(page, text):
    """Every relative link leads to a file, and to a heading of it where it names one."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"the link {target} leads nowhere"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = [re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles]
            assert heading in anchors, f"the link {target} names no heading of {file.name}"


def checks(page, write):
    """Yield a name and a check for everything on the page that can be checked."""
    text = page.read_text()
    yield "links", lambda: check_links(page, text)
    for number, block in enumerate(blocks(text, "json"), 1):
        yield f"json {number}", lambda block=block: check_json(block)
    if blocks(text, "python"):
        yield "python", lambda: check_python(page, write)
    if blocks(text, "console"):
        yield "console", lambda: check_console(page, write)
    for language, check in (("c", check_c), ("swift", check_swift)):
        code = "\n".join(blocks(text, language))
        if code:
            yield language, lambda check=check, code=code: in_folder(check, code)


def in_folder(check, code):
    """Run a check in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        check(code, Path(folder))


def main():
    """Check every page and say how it went."""
    passed, failed = 0, 0
    for page in PAGES:
        for name, check in checks(page, "--write" in sys.argv[1:]):
            try:
                check()
                passed += 1
            except Exception as error:
                failed += 1
                print(f"{page.relative_to(ROOT)}, {name}: {type(error).__name__}: {error}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
