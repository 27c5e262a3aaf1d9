"""Measures: python tests/bench [--list] [--json FILE] [NAME ...]       (all of them when none is named)

A bench is a module bench_NAME.py beside this file: its docstring's first line says what it measures, its `run()` returns the
figures as a dict, name (unit included) -> number or text."""
import argparse, ast, importlib, json, sys, time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def benches(): return {p.stem.removeprefix('bench_'): p for p in sorted(HERE.glob('bench_*.py'))}


def title(path):
    "First line of a module's docstring, without importing it"
    return (ast.get_docstring(ast.parse(path.read_text(encoding='utf8'))) or path.stem).splitlines()[0]


def show(value): return f'{value:.4g}' if isinstance(value, float) else str(value)


def run(names):
    "Run benches one after the other, print their figures as they come; returns {bench: figures}"
    results = {}
    for name in names:
        print(f'{name}: {title(benches()[name])}', flush=True)
        start = time.perf_counter()
        results[name] = importlib.import_module(f'bench_{name}').run()
        for key, value in results[name].items(): print(f'    {key:44}{show(value):>14}')
        print(f'    ({time.perf_counter() - start:.0f} s)', flush=True)
    return results


def main():
    args = argparse.ArgumentParser(prog='tests/bench', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('names', nargs='*', metavar='NAME', help='benches to run')
    args.add_argument('--list', action='store_true', help='say what there is and run nothing')
    args.add_argument('--json', type=Path, help='write the figures there too')
    args = args.parse_args()
    unknown = [n for n in args.names if n not in benches()]
    if unknown: sys.exit(f"bench: no {unknown[0]!r}; there are {', '.join(benches()) or 'none yet'}")
    if args.list: print('\n'.join(f'{n:16}{title(p)}' for n, p in benches().items()) or 'no benches yet'); return
    results = run(args.names or benches())
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(results, indent=1) + '\n')


if __name__ == '__main__': main()
