"""Run the chapters as nbdev_test does, and compare what they print with what is saved in them: python tests/chapters.py [the options of nbdev_test]

A saved output that the code no longer gives misleads its readers. Words are compared, numbers are not: times, speeds and the last digits differ from machine to machine.
With MEND=1 in the environment such outputs are replaced by what the code gives now, with MEND=all those too that differ in numbers or pictures only: after a change of a model, or of how pictures are drawn.
What is never the same, such as a table that depends on the machine, stands in a cell with the directive `#| volatile`.
With the variable KEEP_NETWORKS the states of the networks that a chapter has trained are saved in that file: tests go on with them (chapter_runs.py)."""
import json, os, re, sys

import nbdev.test
from execnb.shell import CaptureShell

PLAIN = nbdev.test.test_nb
NUMBER = re.compile(r'(?<![A-Za-z_])[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?%?')


def text(outputs):
    "What the `output_paths` of a cell say in words: printed lines and shown values, without numbers, addresses, temporary folders and white space"
    parts = [o.get('text') if o['output_type'] == 'stream' and o.get('name') == 'stdout' else o.get('data', {}).get('text/plain', '') for o in outputs]
    said = '\n'.join(''.join(p) for p in parts if p)
    said = re.sub(r"^'fluidsynth' was found at.*\n?", '', said, flags=re.M)      # pyfluidsynth's own words, when it is first imported
    said = re.sub(r'<Figure size.*?>', '', said)                                 # where it stands among the outputs depends on who runs the cell
    said = re.sub(r' at 0x[0-9a-f]+', '', said)
    said = re.sub(r'0x[0-9a-f]+|\b(?=[0-9]*[a-f])[0-9a-f]{16,}\b|/tmp/[\w/.-]+', '~', said)
    return re.sub(r'[\s-]+', ' ', re.sub(r'#(?:,\s*#)+', '#', NUMBER.sub('#', said))).strip()


def stale(cell, saved):
    "How the output of a cell that was run differs from the `saved` one: a line, or None where it does not"
    pictures = any(kind.startswith('image/') for o in [*saved, *cell.get('outputs', [])] for kind in o.get('data', {}))
    if pictures: return None      # what stands beside a picture, and in which order, depends on who runs the cell
    old, new = text(saved), text(cell.get('outputs', []))
    if not old or old == new or 'volatile' in (getattr(cell, 'directives_', None) or {}): return None
    at = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
    return f"cell {cell.get('id')} ({cell.source.strip().splitlines()[-1][:60]}) shows ...{old[max(0, at - 20):at + 60]!r}, but its code gives ...{new[max(0, at - 20):at + 60]!r}"


class Comparing(CaptureShell):
    "A shell that remembers which saved outputs are stale"
    found, last = [], None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        Comparing.last = self

    def cell(self, cell, *args, **kwargs):
        saved = list(cell.get('outputs', [])) if cell.cell_type == 'code' else []
        super().cell(cell, *args, **kwargs)
        line = not self.exc and cell.cell_type == 'code' and stale(cell, saved)
        if os.environ.get('MEND') == 'all' and saved and cell.get('outputs'): line = line or 'to be saved again'
        if line: Comparing.found.append((line, cell.get('id'), cell.outputs))


def mend(fn, found):
    "Save the new outputs of the stale cells"
    nb, new = json.loads(fn.read_text(encoding='utf8')), {key: json.loads(json.dumps(outputs)) for _, key, outputs in found}
    for cell in nb['cells']:
        if cell.get('id') in new: cell['outputs'] = [o for o in new[cell['id']] if o.get('name') != 'stderr']
    fn.write_text(json.dumps(nb, indent=1, sort_keys=True, ensure_ascii=False) + '\n', encoding='utf8')


def keep_networks(variables, path):
    "Save the state of each network among a chapter's `variables`, by its name"
    import torch
    torch.save({k: v.state_dict() for k, v in variables.items() if isinstance(v, torch.nn.Module) and not k.startswith('_')}, path)


def test_nb(fn, *args, **kwargs):
    "nbdev's, and then the comparison; a chapter whose outputs are stale has failed"
    nbdev.test.CaptureShell, Comparing.found = Comparing, []
    passed, seconds = PLAIN(fn, *args, **kwargs)
    if passed and os.environ.get('MEND') and Comparing.found: mend(fn, Comparing.found); return passed, seconds
    if passed and os.environ.get('KEEP_NETWORKS') and 'torch' in sys.modules: keep_networks(Comparing.last.user_ns, os.environ['KEEP_NETWORKS'])
    for line, *_ in Comparing.found: print(f'{fn.name}: {line}', file=sys.stderr)
    if Comparing.found: print(f'{fn.name}: run it and save it again', file=sys.stderr)
    return passed and not Comparing.found, seconds


if __name__ == '__main__':
    import chapters      # by this name the workers find it; a shell makes `__main__` its own
    nbdev.test.test_nb = chapters.test_nb
    nbdev.test.nbdev_test()
