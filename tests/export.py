"""The package and the notebooks agree: python tests/export.py [--write] [--root FOLDER]

Exports and cleans a copy of the notebooks somewhere else and compares it with what is here, so that nothing here is at risk.
Says file by file what differs; --write then takes over what was exported and cleaned."""
import argparse, json, os, shutil, subprocess, sys, tempfile
from pathlib import Path

from book import ROOT, notebooks


def modules(root):
    "The exported modules under `root`: all Python below the package but its weights"
    return {p.relative_to(root): p for p in sorted((root/'jingles').rglob('*.py')) if p.relative_to(root).parts[1] != 'weights'}


def drop_widgets(path):
    "Take the widgets' state out of a notebook: JupyterLab saves it there, sounds and all"
    nb = json.loads(path.read_text(encoding='utf8'))
    if nb['metadata'].pop('widgets', None): path.write_text(json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=False) + '\n', encoding='utf8')


def fresh(root, to):
    "A copy of the notebooks of `root` in the folder `to`, exported from nothing and cleaned"
    for path in [root/'settings.ini', *notebooks(root)]:
        (to/path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to/path.relative_to(root))
    for path in notebooks(to): drop_widgets(path)
    env = {k: v for k, v in os.environ.items() if k != 'IN_TEST'}    # nbdev does not export while it tests
    work = 'from nbdev.doclinks import nbdev_export; from nbdev.clean import nbdev_clean; nbdev_export(); nbdev_clean()'
    done = subprocess.run([sys.executable, '-c', work], cwd=to, env=env, capture_output=True, text=True)
    if done.returncode: sys.exit(f'export: nbdev failed on the notebooks\n{done.stdout}{done.stderr}')


def source_of(text):
    "The notebook that an exported module names in its first lines, or None"
    line = next((l for l in text.splitlines()[:5] if 'File to edit: ' in l), None)
    return line and Path(os.path.basename(line.split('File to edit: ')[1].rstrip('.'))).name


def differences(root, new):
    "What differs between `root` and its fresh copy `new`: a list of (relative path, what is wrong with it)"
    here, there, found = modules(root), modules(new), []
    for path in sorted(here.keys() | there.keys()):
        if path not in there: found.append((path, 'is left over: no notebook exports it any more'))
        elif path not in here: found.append((path, f'is missing: {source_of(there[path].read_text()) or "nbdev"} exports it'))
        elif here[path].read_bytes() != there[path].read_bytes():
            nb = source_of(there[path].read_text())
            found.append((path, f'is not what {nb} exports: it is stale, or was edited by hand' if nb else 'is not what nbdev writes'))
    for path in notebooks(root):
        path = path.relative_to(root)
        if (root/path).read_bytes() != (new/path).read_bytes(): found.append((path, 'is not clean: it carries execution counts or metadata'))
    return found


def take(root, new, found):
    "Make `root` like `new` where they differ"
    for path, _ in found:
        if (new/path).exists():
            (root/path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(new/path, root/path)
        else: (root/path).unlink()


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('--write', action='store_true', help='take over what was exported and cleaned')
    args.add_argument('--root', type=Path, default=ROOT, help='the project to look at')
    args = args.parse_args()
    with tempfile.TemporaryDirectory() as new:
        fresh(args.root, Path(new))
        found = differences(args.root, Path(new))
        if args.write: take(args.root, Path(new), found)
    for path, wrong in found: print(f'{path} ' + ('written' if args.write else wrong))
    if found and not args.write: sys.exit('export: edit the notebooks, never jingles/*.py; `make export` exports and cleans')
    print(f'export: {len(modules(args.root))} modules and {len(notebooks(args.root))} notebooks agree')


if __name__ == '__main__': main()
