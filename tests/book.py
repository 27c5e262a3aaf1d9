"The notebooks as a text: chapters, cells and what is in them. Shared by the tests and by export.py, readme.py and style.py"
import ast, json, re, subprocess
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
AT_TOP = {'.git', '.venv', '.venv-bench', 'out', 'data', 'runs', 'build', 'dist', '_docs', '_proc'}    # what .gitignore leaves out, for a copy without git
ANYWHERE = {'__pycache__', '.pytest_cache', '.ipynb_checkpoints'}


# the tens of the chapters' numbers
PARTS = {0: 'Foundations', 1: 'Diffusion', 2: 'Networks', 3: 'Toy checks', 4: 'Sound and formats', 5: 'Data and curves', 6: 'System and training', 7: 'Use and evaluation', 8: 'Hands on', 9: 'Served'}


class Cell(NamedTuple):
    kind: str          # 'code', 'markdown' or 'raw'
    source: str
    directives: tuple  # 'export', 'hide', 'default_exp core', ...
    outputs: list
    tags: tuple

    def says(self, *names): return any(d.split()[0].rstrip(':') in names for d in self.directives)
    @property
    def exported(self): return self.kind == 'code' and any(d.startswith('export') for d in self.directives)


class Chapter(NamedTuple):
    number: int
    module: str        # 'data.melody'
    path: Path
    cells: list


def cells(path):
    "The cells of a notebook"
    def cell(c):
        source = ''.join(c['source'])
        directives = tuple(re.findall(r'^\s*#\s*\|\s*(\S.*?)\s*$', source, re.M)) if c['cell_type'] == 'code' else ()
        return Cell(c['cell_type'], source, directives, c.get('outputs', []), tuple(c['metadata'].get('tags', ())))
    return [cell(c) for c in json.loads(Path(path).read_text(encoding='utf8'))['cells']]


def notebooks(root=ROOT):
    "All notebooks of the project, runs and explore included"
    return sorted(p for p in (root/'nbs').rglob('*.ipynb') if not any(part[0] in '._' for part in p.relative_to(root).parts))


@lru_cache
def chapters(root=ROOT):
    "The numbered notebooks in the order of their numbers"
    def chapter(path):
        number, _, module = path.stem.partition('_')
        return Chapter(int(number), module, path, cells(path))
    return [chapter(p) for p in sorted((root/'nbs').glob('[0-9]*.ipynb'))]


def heading(cells):
    "(title, subtitle) of a chapter: its H1 and the line that begins with > below it"
    lines = cells[0].source.splitlines()
    return tuple(next((line.removeprefix(mark).strip() for line in lines if line.startswith(mark)), '') for mark in ('# ', '> '))


def code(source):
    "What Python sees of a code cell: IPython's magics and shell lines are left out"
    return re.sub(r'^(\s*)[%!].*$', r'\1pass', source, flags=re.M) if not source.lstrip().startswith('%%') else ''


def imports(source):
    "The modules that `source` imports anywhere, each as its dotted name: `from a.b import c` gives 'a.b' and 'a.b.c'"
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import): found |= {a.name for a in node.names}
        if isinstance(node, ast.ImportFrom) and not node.level: found |= {node.module, *(f'{node.module}.{a.name}' for a in node.names)}
    return found


def project_files(root=ROOT):
    "The files that belong to the project: what git tracks or would track, or all but build results where there is no git"
    git = subprocess.run(['git', '-C', root, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], capture_output=True, text=True)
    if git.returncode == 0: found = [root/f for f in git.stdout.split('\0') if f]
    else: found = [p for p in root.rglob('*') if p.relative_to(root).parts[0] not in AT_TOP and not ANYWHERE & set(p.parts)]
    return sorted(p for p in found if p.is_file())
