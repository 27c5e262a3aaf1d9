"""README.md from nbs/index.ipynb: python tests/readme.py [--check] [--root FOLDER]

The notebook's saved outputs are used as they are. Pictures and sounds become files nbs/images/readme_*, because a page that shows
a README plays no sound that is embedded in it and loads slowly with pictures that are. Links of the notebook, which are relative to
nbs/, are made relative to README.md."""
import argparse, base64, posixpath, re, sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from traitlets.config import Config

from book import PARTS, ROOT, cells, chapters, heading

IMAGES = 'nbs/images'
ELSEWHERE = r'(?!https?:|mailto:|data:|attachment:|#|/)'


def from_root(text, folder='nbs'):
    "Markdown links and HTML sources relative to `folder`, made relative to the folder above it"
    def moved(m): return m[1] + posixpath.normpath(posixpath.join(folder, m[2])) + m[3]
    text = re.sub(rf'(\]\(){ELSEWHERE}([^)\s]+)([)\s])', moved, text)
    return re.sub(rf'(\b(?:src|href)=["\']){ELSEWHERE}([^"\'>]+)(["\'])', moved, text)


def sounds(nb):
    "Put a link in the place of every player in the outputs of `nb`; returns the sounds as {file: bytes}"
    files = {}
    for i, cell in enumerate(nb.cells):
        for output in cell.get('outputs', []):
            html = output.get('data', {}).get('text/html', '')
            found = re.search(r'<(?:audio|source)[^>]*?src="data:audio/([\w.+-]+);base64,([^"]+)"', html)
            if not found: continue
            name = f"{IMAGES}/readme_{i}.{found[1].removeprefix('x-').replace('mpeg', 'mp3')}"
            files[name] = base64.b64decode(found[2])
            output.data = nbformat.from_dict({'text/markdown': f'[&#9654; listen]({name})'})
    return files


def shown(nb, path):
    "`nb` as a reader should see it: without what its directives hide and without the directives"
    kept = []
    for cell, c in zip(nb.cells, cells(path)):
        if c.kind == 'raw' or c.says('hide', 'default_exp') or any(d.replace(' ', '') == 'include:false' for d in c.directives): continue
        if c.says('hide_input') or any(d.replace(' ', '') == 'echo:false' for d in c.directives): cell.metadata['tags'] = ['hide_input']
        if c.kind == 'markdown': cell.source = from_root(cell.source)
        else: cell.source = re.sub(r'^\s*#\s*\|.*\n?', '', cell.source, flags=re.M).strip('\n')
        kept.append(cell)
    nb.cells = kept
    nb.metadata['language_info'] = dict(name='python')    # nbdev_clean leaves it out; it colours the code
    return nb


def chapter_table(root, folder='nbs'):
    "All chapters with their links, by parts, in Markdown"
    lines = []
    for part, name in PARTS.items():
        found = [(c, *heading(c.cells)) for c in chapters(root) if c.number//10 == part]
        if found: lines += ['', f'**{name}**', '', '| | chapter | |', '| --- | --- | --- |']
        lines += [f'| {c.number:02} | [{title}]({folder}/{c.path.name}) | {about} |' for c, title, about in found]
    return '\n'.join(lines).strip()


def readme(root=ROOT):
    "The text of README.md and the files it shows, {path from the root: bytes}"
    path = root/'nbs'/'index.ipynb'
    if not path.exists(): raise FileNotFoundError(f'no {path.relative_to(root)}; README.md is made from it')
    nb = shown(nbformat.read(path, 4), path)
    files = sounds(nb)
    exporter = MarkdownExporter(config=Config(TagRemovePreprocessor=dict(enabled=True, remove_input_tags=['hide_input'])))
    text, resources = exporter.from_notebook_node(nb, resources=dict(output_files_dir=IMAGES, unique_key='readme'))
    files |= resources['outputs']
    text = text.replace('<!-- chapters -->', chapter_table(root))
    note = '<!-- made from nbs/index.ipynb by `make readme`; edit the notebook -->\n'
    text = re.sub(r'\n{3,}', '\n\n', re.sub(r'[ \t]+$', '', text, flags=re.M)).strip() + '\n'
    return note + text, dict(sorted(files.items()))


def stale(root, text, files):
    "The paths that `readme` would write or remove"
    def same(path, data): return path.exists() and path.read_bytes() == data
    wanted = {'README.md': text.encode(), **files}
    old = {p.relative_to(root).as_posix() for p in (root/IMAGES).glob('readme_*')}
    return sorted([n for n, data in wanted.items() if not same(root/n, data)] + list(old - wanted.keys())), wanted


def main(argv=None):
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('--check', action='store_true', help='write nothing, say what is out of date')
    args.add_argument('--root', type=Path, default=ROOT, help='the project to look at')
    args = args.parse_args(argv)
    try: names, wanted = stale(args.root, *readme(args.root))
    except FileNotFoundError as e: sys.exit(f'readme: {e}')
    if args.check and names: sys.exit(f"readme: out of date: {', '.join(names)}; `make readme` makes it from nbs/index.ipynb")
    for name in names:
        if name not in wanted: (args.root/name).unlink(); continue
        (args.root/name).parent.mkdir(parents=True, exist_ok=True)
        (args.root/name).write_bytes(wanted[name])
    print(f'readme: {len(wanted)} files ' + (f'written: {", ".join(names)}' if names else 'up to date'))


if __name__ == '__main__': main()
