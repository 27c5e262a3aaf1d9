"What holds for the project as a whole: who imports whom, what is light, how the chapters read, what is declared"
import ast, configparser, json, re, sys
from collections import defaultdict
from functools import cache
from inspect import signature
from importlib import metadata

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from book import ROOT, cells, chapters, code, imports, notebooks, project_files
from style import report, styles


def module_file(c): return ROOT/'jingles'/(c.module.replace('.', '/') + '.py')


# ---- the order of the book

def test_names_and_numbers():
    numbers = [c.number for c in chapters()]
    assert len(numbers) >= 10 and len(set(numbers)) == len(numbers)
    for c in chapters():
        exported_to = [d.split()[1] for cell in c.cells for d in cell.directives if d.startswith('default_exp')]
        assert exported_to == [c.module], f'{c.path.name} exports to {exported_to}; its name says {c.module}'


def test_number_order_is_import_order():
    "A chapter imports only chapters with a lower number, in the cells it exports and in those it shows (itself it may import)"
    number = {f'jingles.{c.module}': c.number for c in chapters()}
    checked, wrong = 0, []
    for c in chapters():
        for cell in c.cells:
            if cell.kind != 'code': continue
            for name in imports(code(cell.source)) & number.keys():
                if number[name] == c.number and not cell.exported: continue
                checked += 1
                if number[name] >= c.number: wrong.append(f'{c.path.name} imports {name}, chapter {number[name]:02}')
    assert checked > 0
    assert not wrong, '\n'.join(wrong)


def test_modules_import_no_later_chapter():
    "The same for the exported files, where relative imports are seen too"
    number = {f'jingles.{c.module}': c.number for c in chapters()}
    checked = 0
    for c in chapters():
        path = module_file(c)
        assert path.exists(), f'{c.path.name} was never exported'
        package = ['jingles', *c.module.split('.')[:-1]]
        for node in ast.walk(ast.parse(path.read_text(encoding='utf8'))):
            if not isinstance(node, ast.ImportFrom) or not node.level: continue
            base = '.'.join(package[:len(package) - node.level + 1] + (node.module or '').split('.')).rstrip('.')
            for name in {base, *(f'{base}.{a.name}' for a in node.names)} & number.keys():
                checked += 1
                assert number[name] < c.number, f'{path.name}: chapter {c.number:02} imports {name}, chapter {number[name]:02}'
    assert checked > 0


def test_who_knows_whom():
    "Backbones, paradigms and formats do not know each other; only `system` and what stands above it knows them all"
    strangers = dict(paradigms={'backbones', 'formats', 'control', 'data'}, backbones={'paradigms', 'formats', 'control', 'data'},
                     formats={'paradigms', 'backbones', 'control', 'data'}, control={'paradigms', 'backbones', 'formats'})
    for c in chapters():
        for name in (name for cell in c.cells if cell.exported for name in imports(code(cell.source))):
            part = name.split('.')[1] if name.startswith('jingles.') and name.count('.') > 1 else None
            assert part not in strangers.get(c.module.split('.')[0], ()), f'{c.path.name} must not know {name}'


DOUBLE = dict.fromkeys(('combine', 'evaluate', 'export', 'generate', 'train', 'train_codec', 'train_codes'), 'a command of the command line, named after the function that it calls') | dict(
    dict.fromkeys(('Feature', 'Instrument', 'UnconditionalScale'), 'the type of an option of the command line, beside the thing that the option names'),
    HOP='samples per frame: of the codecs, and of the measures, which stay at 75 frames a second whatever the format')


def defined(body):
    "The names that the statements `body` of a module define: functions, classes and variables, those behind an `if` or `try` too"
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)): yield node.name
        for target in getattr(node, 'targets', None) or [getattr(node, 'target', None)]:
            if isinstance(node, (ast.Assign, ast.AnnAssign)): yield from (t.id for t in ast.walk(target) if isinstance(t, ast.Name) and isinstance(t.ctx, ast.Store))
        if isinstance(node, (ast.If, ast.Try, ast.With)): yield from defined(node.body + getattr(node, 'orelse', []))


def test_one_name_means_one_thing():
    "A name at the top of a module is that of no other module; what must stay double is in DOUBLE, with the reason"
    homes = defaultdict(set)
    for c in chapters():
        for name in defined(ast.parse(module_file(c).read_text(encoding='utf8')).body):
            if not name.startswith('__'): homes[name].add(c.module)
    double = {name: sorted(modules) for name, modules in homes.items() if len(modules) > 1}
    new = [f'{name}: {" and ".join(modules)}' for name, modules in sorted(double.items()) if name not in DOUBLE]
    assert len(homes) > 1000
    assert not new, 'rename one of each, or say in DOUBLE why both are right:\n' + '\n'.join(new)
    assert not DOUBLE.keys() - double.keys(), f'no longer double: {sorted(DOUBLE.keys() - double.keys())}'


NAME_A_RATE = dict.fromkeys(('formats.cqt', 'formats.codec', 'formats.encodec', 'formats.spectral', 'data.shards'), 'a format of sound at 24 kHz by definition') | {
    'limits': 'the rates that sound files may have', 'core': 'the default of `Spec`, of formats that say nothing else',
    'audio': 'names the rate of measurements; and a default for whoever listens in a notebook, which no other module may rely on',
    'data.synth': "renders the databases' sound, which is raw audio's; any other rate on request"}


def test_the_spec_carries_the_sample_rate():
    "SAMPLE_RATE, or its number, stands in the modules of NAME_A_RATE alone; what a model makes has the rate of its `spec`, what is measured ANALYSIS_RATE"
    named = {c.module for c in chapters() if re.search(r'\bSAMPLE_RATE\b|\b24_?000\b', module_file(c).read_text(encoding='utf8'))}
    assert not named - NAME_A_RATE.keys(), f'{sorted(named - NAME_A_RATE.keys())}: take the rate of the spec or of the sound, or say in NAME_A_RATE why not'
    assert not NAME_A_RATE.keys() - named, f'no longer needed: {sorted(NAME_A_RATE.keys() - named)}'


def test_no_sample_rate_is_left_to_the_default():
    "Chapter 40 has a default for notebooks; the package itself says at which rate it loads, saves, resamples and measures"
    from jingles import audio
    from jingles.core import SAMPLE_RATE
    rates = {}      # {function: (the name of its rate, how many arguments stand before it)}
    for name, f in vars(audio).items():
        if getattr(f, '__module__', '') != 'jingles.audio': continue
        parameters = list(signature(f).parameters.values())
        rates |= {name: (p.name, i) for i, p in enumerate(parameters) if p.default == SAMPLE_RATE}
    wrong, checked = [], 0
    for c in chapters():
        if c.module == 'audio': continue
        tree = ast.parse(module_file(c).read_text(encoding='utf8'))
        known = {a.asname or a.name: a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and (n.module or '').split('.')[-1] == 'audio' for a in n.names}
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or known.get(call.func.id) not in rates: continue
            rate, before = rates[known[call.func.id]]
            checked += 1
            if len(call.args) <= before and rate not in {k.arg for k in call.keywords}: wrong.append(f'{c.module}: {ast.unparse(call)[:80]} leaves {rate} to the default')
    assert len(rates) > 8 and checked > 15
    assert not wrong, '\n'.join(wrong)


NAMES_A_FEATURE = dict.fromkeys(('data.melody', 'data.collection'), 'the fields of a note') | dict.fromkeys(
    ('data.cards', 'data.recordings', 'training'), 'what a database was made with: `instruments`') | {
    'cli': 'its options, which are checked before PyTorch is imported', 'control.draw': 'a preset', 'files.recipe': 'the loudness that a sound is brought to', 'files.midi': 'what the modulation wheel means',
    'evaluation.adherence': 'a measure: the share of frames in which a pitch is found'}


def test_features_are_named_by_their_rows():
    "The name of a feature is written in chapter 45 alone; elsewhere it is `VELOCITY.name`, or the row at hand. In NAMES_A_FEATURE such a word means something else"
    from jingles.control.features import FEATURES
    words = {c.module: {n.value for n in ast.walk(ast.parse(module_file(c).read_text(encoding='utf8'))) if isinstance(n, ast.Constant) and isinstance(n.value, str)} for c in chapters()}
    named = {module: sorted(found & FEATURES.keys()) for module, found in words.items() if found & FEATURES.keys()}
    assert named.pop('control.features') and len(FEATURES) > 8
    new = {module: found for module, found in named.items() if module not in NAMES_A_FEATURE}
    assert not new, f'{new}: take the name from the row of the feature, or say in NAMES_A_FEATURE what else the word means'
    assert not NAMES_A_FEATURE.keys() - named, f'no longer needed: {sorted(NAMES_A_FEATURE.keys() - named)}'


# ---- light where it must be light

def test_import_is_light(python):
    "`import jingles` loads that one module and nothing that is installed; tests/bench/bench_cli.py measures how long it takes"
    loaded = python('import sys; before = set(sys.modules); import jingles; print(*sorted(sys.modules.keys() - before))').stdout.split()
    assert [m for m in loaded if m.partition('.')[0] not in sys.stdlib_module_names] == ['jingles'], f'import jingles loads {loaded}'


def test_names_of_the_package(python):
    "A dozen names, each what its chapter defines; importing them one by one loads no more than that chapter needs"
    import jingles
    from importlib import import_module
    assert 10 <= len(jingles.__all__) <= 16 and sorted(jingles.__all__) == dir(jingles)
    for name in jingles.__all__:
        thing = getattr(jingles, name)
        assert thing.__module__.startswith('jingles.') and getattr(import_module(thing.__module__), name) is thing
    with pytest.raises(AttributeError, match="has no 'nothing'; it offers Board"): jingles.nothing
    python('from jingles import *; load_model, player, Studio')


def test_nothing_heavy_on_the_way_to_a_jingle(python, tmp_path):
    done = python('''
import sys
out = sys.argv[1]
sys.argv[:] = ["jingles", "generate", "--seconds", "1", "--out", out]
from jingles.cli import main
try: main()
except SystemExit as stop: assert not stop.code, stop.code
print("LOADED", [m for m in ("tensorflow", "keras", "accelerate", "sklearn", "scipy", "librosa") if m in sys.modules])
from jingles.data.synth import load_fluidsynth
print("SYNTH", load_fluidsynth.cache_info().currsize)       # pretty_midi imports pyfluidsynth where it is installed; we must not set FluidSynth up
''', tmp_path/'a.wav')
    assert 'SYNTH 0' in done.stdout, done.stdout[-500:]
    assert 'LOADED []' in done.stdout, done.stdout[-500:]
    assert (tmp_path/'a.wav').stat().st_size > 24_000


def test_no_import_needs_tensorflow_or_cuda(python):
    "Every module is imported where TensorFlow is not there and CUDA may not be asked for"
    python('''
import importlib, sys
sys.modules["tensorflow"] = None
import torch
def refuse(*a, **k): raise AssertionError("CUDA was asked for at import")
torch.cuda._lazy_init = torch.cuda.is_available = torch.accelerator.is_available = refuse
for module in sys.argv[1:]: importlib.import_module(module)''', *(f'jingles.{c.module}' for c in chapters()))


# ---- how it reads

def test_style(capsys):
    "STYLE: report how the chapters read; fail only far outside of what we aim at"
    with capsys.disabled(): print('\n\n' + report(styles()) + '\n')
    wrong = []
    for s in styles():
        if s.quantile(1) > 40: wrong.append(f'{s.name}: an exported cell of {s.quantile(1)} lines; one screen holds 25')
        if s.quantile(.5) > 14: wrong.append(f'{s.name}: half of the exported cells have over {s.quantile(.5)} lines; aim at 8')
        if s.words_per_line < 1: wrong.append(f'{s.name}: {s.words_per_line:.1f} words of prose per exported line; aim at 2.5')
        if s.hidden_share > .5: wrong.append(f'{s.name}: {s.hidden_share:.0%} of the tests are hidden; aim at under 25%')
    assert not wrong, '\n'.join(wrong)


def test_lines_of_exported_code():
    "At most 120 characters; nbdev breaks the lines of `__all__`"
    lines = {c.path.name: re.sub(r'^__all__ = \[.*?\]$', '', module_file(c).read_text(encoding='utf8'), flags=re.M | re.S).splitlines() for c in chapters()}
    wide = [f'{name}: {line.strip()[:60]}... has {len(line)} characters' for name, found in lines.items() for line in found if len(line) > 120]
    assert not wide, '\n'.join(wide)


@pytest.mark.parametrize('path', notebooks(), ids=lambda p: p.stem)
def test_notebook_outputs(path):
    "Saved outputs are small, and none is an error"
    outputs = [o for cell in cells(path) for o in cell.outputs]
    errors = [o.get('ename') for o in outputs if o['output_type'] == 'error']
    assert not errors, f'{path.name} was saved with {errors}'
    size = len(json.dumps(outputs))
    assert size < 300_000, f'{path.name}: {size//1000} kB of saved outputs; keep them under 300 kB'


def written(path):
    "The text of a file as somebody wrote or a run said it: without pictures and sounds, which are letters by chance"
    if path.suffix != '.ipynb': return path.read_text(encoding='utf8')
    def said(o): return ''.join(o.get('text', '')) + ''.join(o.get('data', {}).get('text/plain', ''))
    return '\n'.join(c.source + '\n' + '\n'.join(map(said, c.outputs)) for c in cells(path))


def test_no_private_paths_and_nothing_left_to_do():
    private = re.compile(r'(?<![\w.~/-])/(?:work|root|home|mnt|opt|tmp)/[\w.]')
    later = re.compile(r'\b(?:TO' r'DO|FIX' r'ME|XX' r'X)\b')
    wrong, read = [], 0
    for path in project_files():
        try: lines = written(path).splitlines()
        except UnicodeDecodeError: continue
        read += 1
        wrong += [f'{path.relative_to(ROOT)}: {line.strip()[:100]}' for line in lines if private.search(line) or later.search(line)]
    assert read > 20
    assert not wrong, '\n'.join(wrong)


def test_parameters_tag_survives_cleaning():
    "nbdev_clean leaves papermill's tag alone, in this project's settings and in each notebook that is a run"
    from nbdev.clean import clean_nb
    allowed = settings()['allowed_cell_metadata_keys'].split()
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell('steps = 1', metadata=dict(tags=['parameters'], collapsed=True))])
    clean_nb(nb, allowed_cell_metadata_keys=allowed)
    assert nb.cells[0].metadata == dict(tags=['parameters'])
    for path in (ROOT/'nbs'/'runs').glob('*.ipynb'):
        assert [c.tags for c in cells(path)].count(('parameters',)) == 1, f'{path.name} needs one cell tagged `parameters`'
        for c in cells(path):
            if c.kind != 'code': continue
            defined = [n for n in ast.walk(ast.parse(code(c.source))) if isinstance(n, (ast.FunctionDef, ast.ClassDef))]
            assert not defined, f'{path.name} defines {defined[0].name}; a run only calls'
    for path in (ROOT/'nbs'/'results').glob('*.ipynb'):
        tags = [c.tags for c in cells(path)]
        assert tags.count(('parameters',)) == 1, f'{path.name} needs one cell tagged `parameters`'
        given = [c.tags for c in cells(path) if c.source.startswith('# Parameters')]
        assert given in ([], [('injected-parameters',)]), f'{path.name}: without its tag, the cell of a former call would overrule what papermill is called with'


# ---- what is declared

EXTRAS = ('requirements', 'train_requirements', 'lab_requirements', 'serve_requirements', 'hub_requirements', 'dev_requirements', 'docs_requirements')
NOT_IMPORTED = dict({'mkdocs-material': "the site's theme"}, jupyterlab='`make lab`', ipywidgets='carries anywidget', voila='`make app`', ipykernel='runs the notebooks', execnb='bound for nbdev', ghapi='bound for nbdev',
                    **{'pytest-xdist': '`make pytest` runs two tests at once'}, setuptools='builds the wheel', wheel='builds the wheel', papermill='runs nbs/runs')


def settings():
    parser = configparser.ConfigParser(delimiters=['='])
    parser.read(ROOT/'settings.ini', encoding='utf8')
    return parser['DEFAULT']


def alone(): return {canonicalize_name(n) for n in settings()['embedding_packages'].split()}     # installed without what they ask for


def declared(*keys): return [Requirement(r) for key in keys or EXTRAS for r in settings()[key].split()]


def top(names): return {n.partition('.')[0] for n in names}


@cache
def packages_distributions(): return metadata.packages_distributions()      # reads the files of every package that is installed


def distributions(names):
    "The installed distributions that the top-level modules `names` come from"
    known = packages_distributions()
    return {canonicalize_name(d) for n in names for d in known.get(n, ())}


def imported_by(paths):
    "Top-level modules that Python files and notebooks import, anywhere in them"
    found = set()
    for path in paths:
        sources = [code(c.source) for c in cells(path) if c.kind == 'code'] if path.suffix == '.ipynb' else [path.read_text(encoding='utf8')]
        found |= {name for source in sources for name in imports(source)}
    return top(found)


def test_every_requirement_is_used():
    package, tests = (sorted((ROOT/d).rglob('*.py')) for d in ('jingles', 'tests'))
    used = distributions(imported_by([*package, *tests, *notebooks()]))
    idle = [r.name for r in declared() if canonicalize_name(r.name) not in used | NOT_IMPORTED.keys()]
    assert not idle, f'in settings.ini and imported nowhere: {", ".join(idle)}'


def test_every_import_is_declared():
    "What the package imports stands in settings.ini"
    known = {canonicalize_name(r.name) for r in declared('requirements', 'train_requirements', 'lab_requirements', 'serve_requirements', 'hub_requirements')} | alone()
    outside = imported_by(sorted((ROOT/'jingles').rglob('*.py'))) - sys.stdlib_module_names - {'jingles'}
    missing = [n for n in sorted(outside) if not (distributions([n]) | {canonicalize_name(n)}) & known]
    assert not missing, f'imported by the package, not in settings.ini: {", ".join(missing)}'


def test_constraints_pin_everything():
    "constraints.txt pins each package of the extras, all that they pull in and those of embeddings, to one plain version, and nothing else"
    lines = [l for l in (ROOT/'constraints.txt').read_text().splitlines() if l and not l.startswith('#')]
    assert all(re.fullmatch(r'[a-z0-9-]+==[\w.]+', l) for l in lines), 'one plain name==version a line: no paths, no local versions'
    pins = dict(l.split('==') for l in lines)
    if sys.version_info[:2] != (3, 11) or sys.platform != 'linux': return       # elsewhere other packages are pulled in; the pins were tested here
    needed, seen, exact = declared(), defaultdict(set), set()
    while needed:
        r = needed.pop()
        name, extras = canonicalize_name(r.name), r.extras or {''}
        if extras <= seen[name]: continue
        seen[name] |= extras
        for r in map(Requirement, metadata.requires(name) or ()):
            if r.marker is not None and not any(r.marker.evaluate(dict(extra=e)) for e in extras): continue
            if str(r.specifier).startswith('=='): exact.add(canonicalize_name(r.name))      # pinned by who wants it, as PyTorch pins CUDA's parts
            needed.append(r)
    loose, idle = sorted((seen.keys() | alone()) - pins.keys() - exact), sorted(pins.keys() - seen.keys() - alone())
    assert not loose, f'not pinned in constraints.txt: {", ".join(loose)}'
    assert not idle, f'pinned in constraints.txt and pulled in by nothing: {", ".join(idle)}'


# ---- what a reader clicks on

LINK = r'\]\((?!https?:|mailto:|data:|attachment:|#)([^)\s#]+)'

def test_links_lead_somewhere():
    "Relative links of pages and notebooks name files that are there"
    pages = {p: p.read_text() for p in project_files() if p.suffix == '.md' or p.name == 'llms.txt'}
    pages |= {p: '\n'.join(c.source for c in cells(p) if c.kind == 'markdown') for p in notebooks()}
    links = [(p, link) for p, text in pages.items() for link in re.findall(LINK, text)]
    dead = [f'{p.relative_to(ROOT)}: {link}' for p, link in links if not (p.parent/link).exists()]
    assert len(links) > 5
    assert not dead, '\n'.join(dead)


def test_what_a_cell_ends_in_is_shown():
    "A cell of a chapter that ends in a value has it as a saved output: a reader sees it without running anything"
    silent, checked = [], 0
    for c in chapters():
        for cell in c.cells:
            if cell.kind != 'code' or cell.directives or cell.source.rstrip().endswith(';'): continue
            body = ast.parse(code(cell.source)).body
            if not body or not isinstance(body[-1], ast.Expr) or isinstance(body[-1].value, ast.Call): continue      # a call may return nothing
            checked += 1
            if not cell.outputs: silent.append(f'{c.path.name}: {cell.source.splitlines()[-1][:80]}')
    assert checked > 100
    assert not silent, 'run and save: ' + '\n'.join(silent)
