"""The book as a site of static pages, from what is saved in the notebooks: python tests/docs.py [--out _docs] [--root FOLDER]

Nothing is run. Each notebook becomes a page of Markdown (nbconvert), its pictures files beside it; mkdocs with the theme Material makes the site, with a table of
contents and a search that also works from a folder, without a server. Formulas become MathML, so that no page fetches anything from elsewhere."""
import argparse, html, logging, posixpath, re, shutil, sys, tempfile
from functools import cache
from pathlib import Path

import nbformat
import yaml
from latex2mathml.converter import convert
from nbconvert import MarkdownExporter
from traitlets.config import Config

from book import PARTS, ROOT, cells, chapters
from readme import ELSEWHERE, shown

CODE = re.compile(r'^```.*?^```[^\n]*$|`[^`\n]+`', re.M | re.S)
FORMULA = re.compile(r'\$\$(.+?)\$\$|(?<![\\$\w])\$(?=\S)([^$\n]+?)(?<=\S)\$(?![\w$])', re.S)
PAGES = ('.md', '.ipynb')
SHIM = 'assets/iframe-worker.js'     # in place of one that Material's `offline` would fetch from elsewhere: search in a page that was opened from a folder


def outside_code(text, change):
    "`parse_text` with `change` made to all of it but fenced blocks and code in lines"
    kept, end = [], 0
    for m in CODE.finditer(text):
        kept += [change(text[end:m.start()]), m[0]]
        end = m.end()
    return ''.join(kept + [change(text[end:])])


def mathml(text):
    "LaTeX between dollars as MathML; what Markdown would take for emphasis is written as entities"
    def formula(m):
        made = convert(m[1] or m[2], display='block' if m[1] else 'inline').replace('*', '&#42;').replace('_', '&#95;')
        return f'\n\n<div>{made}</div>\n\n' if m[1] else made
    return FORMULA.sub(formula, text)


def spaced(text):
    "Lists and tables with an empty line before them, which Markdown in the browser and on GitHub does without"
    return re.sub(r'^(?!\s*(?:[-*|]|\d+\.) ?)(\S.*)\n(?=(?:[-*]|\d+\.) |\|)', r'\1\n\n', text, flags=re.M)


def title_of(text, path): return next((line[2:].strip() for line in text.splitlines() if line.startswith('# ')), path.stem)


@cache
def exporter():
    "One for all pages: its templates are compiled once"
    return MarkdownExporter(config=Config(TagRemovePreprocessor=dict(enabled=True, remove_input_tags=['hide_input'])))


def page(path, to):
    "Write the page of a notebook to the file `to`, its pictures beside it; its text"
    nb = shown(nbformat.read(path, 4), path)
    for cell, source in zip((c for c in nb.cells if c.cell_type == 'markdown'), [c.source for c in cells(path) if c.kind == 'markdown']):
        cell.source = spaced(outside_code(source, mathml))       # the links as they are, and not as README.md has them
    folder = f'{to.stem}_files'
    text, resources = exporter().from_notebook_node(nb, resources=dict(output_files_dir=folder, unique_key='out'))
    for name, data in resources['outputs'].items():
        (to.parent/name).parent.mkdir(parents=True, exist_ok=True)
        (to.parent/name).write_bytes(data)
    return text


def links(text):
    "The relative links and sources of a page"
    found = re.findall(rf'\]\({ELSEWHERE}([^)\s]+)', text) + re.findall(rf'\b(?:src|href)=["\']{ELSEWHERE}([^"\'>]+)', text)
    return [link.partition('#')[0] for link in found if link.partition('#')[0]]


def relinked(text):
    "Links to notebooks lead to their pages"
    return re.sub(rf'(\]\({ELSEWHERE}[^)\s#]+)\.ipynb(?=[)\s#])', r'\1.md', text)


def gather(root, to):
    "All pages and the files that they name, in the folder `to`, laid out as in the project; `{page: title}`"
    wanted = [root/'README.md', *(c.path for c in chapters(root)), *sorted((root/'nbs').glob('explore/*.ipynb')), *sorted((root/'nbs').glob('runs/*.ipynb')), *sorted((root/'nbs').glob('results/*.ipynb')),
              *sorted((root/'data_cards').glob('*.md')), *(root/n for n in ('CHANGELOG.md', 'slurm/README.md', 'gpu/README.md')), *sorted((root/'jingles'/'weights').glob('*/README.md'))]
    titles = {}
    for path in filter(Path.exists, wanted):
        name = path.relative_to(root)
        target = to/('index.md' if name == Path('README.md') else name.with_suffix('.md'))
        target.parent.mkdir(parents=True, exist_ok=True)
        text = page(path, target) if path.suffix == '.ipynb' else spaced(path.read_text(encoding='utf8'))
        made = {p.relative_to(to).as_posix() for p in to.rglob('*')}
        for link in links(text):
            there = posixpath.normpath(posixpath.join(name.parent.as_posix(), link))
            if (root/there).is_file() and there not in made and Path(there).suffix not in PAGES:
                (to/there).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(root/there, to/there)
        target.write_text(relinked(text).replace('](README.md', '](index.md') if name.parent == Path('.') else relinked(text), encoding='utf8')
        titles[target.relative_to(to).as_posix()] = title_of(text, path)
    return titles


def contents(root, titles):
    "The navigation: the first page, the chapters by tens, and the rest by folders"
    numbered = {f'nbs/{c.path.stem}.md': c.number for c in chapters(root)}
    parts = {}
    for name, number in numbered.items(): parts.setdefault(PARTS[number//10], []).append({f'{number:02} {titles[name]}': name})
    rest = {'Notebooks to play with': 'nbs/explore/', 'Runs': 'nbs/runs/', 'Results': 'nbs/results/', 'Data cards': 'data_cards/', 'Model cards': 'jingles/weights/', 'Clusters and GPUs': ('slurm/', 'gpu/')}
    for part, prefix in rest.items(): parts[part] = [{titles[name]: name} for name in titles if name.startswith(prefix)]
    if 'CHANGELOG.md' in titles: parts['Changes'] = 'CHANGELOG.md'
    return [{'jingles': 'index.md'}] + [{part: found} for part, found in parts.items() if found]


def settings(docs, site, nav):
    return dict(site_name='jingles', docs_dir=str(docs), site_dir=str(site), nav=nav, use_directory_urls=False, strict=True,
                theme=dict(name='material', font=False, features=['navigation.sections', 'navigation.top', 'navigation.footer', 'search.highlight', 'content.code.copy'],
                           palette=[dict(media='(prefers-color-scheme: light)', scheme='default', toggle=dict(icon='material/weather-night', name='dark')),
                                    dict(media='(prefers-color-scheme: dark)', scheme='slate', toggle=dict(icon='material/weather-sunny', name='light'))]),
                plugins=['search', 'offline'], extra=dict(polyfills=[SHIM], generator=False), markdown_extensions=['tables', 'md_in_html', 'pymdownx.superfences', dict(toc=dict(permalink=True)), 'pymdownx.highlight'],
                validation=dict(links=dict(not_found='warn', anchors='warn', absolute_links='warn'), nav=dict(omitted_files='ignore')))


class Refusals(logging.Handler):
    "Keeps what mkdocs warns of: a link that leads nowhere is no reason to make half a site"
    def __init__(self): super().__init__(logging.WARNING); self.said = []
    def emit(self, record): self.said.append(record.getMessage())


def build(root, out):
    "Make the site in the folder `out`; the number of its pages. ValueError for links that lead nowhere"
    from mkdocs.commands.build import build as make
    from mkdocs.config import load_config
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder)/'docs'
        (docs/SHIM).parent.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name('iframe-worker.js'), docs/SHIM)
        titles = gather(root, docs)
        config = Path(folder)/'mkdocs.yml'
        config.write_text(yaml.safe_dump(settings(docs, Path(out).absolute(), contents(root, titles)), sort_keys=False))
        refusals = Refusals()
        logging.getLogger('mkdocs').addHandler(refusals)
        try: make(load_config(str(config)))
        except SystemExit: pass                # of strict, after its warnings
        except Exception as e: refusals.said.append(str(e))
        finally: logging.getLogger('mkdocs').removeHandler(refusals)
        if refusals.said: raise ValueError('\n'.join(refusals.said))
    return len(titles)


def main(argv=None):
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('--out', type=Path, default=None, help='folder of the site; what is in it is replaced')
    args.add_argument('--root', type=Path, default=ROOT, help='the project to look at')
    args = args.parse_args(argv)
    out = args.out or args.root/'_docs'
    try: print(f"docs: {build(args.root, out)} pages in {out}; open {out/'index.html'}")
    except ValueError as e: sys.exit(f'docs: {e}')


if __name__ == '__main__': main()
