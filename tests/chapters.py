"""Run the chapters as nbdev_test does, and compare what they print with what is saved in them: python tests/chapters.py [the options of nbdev_test]

A saved output that the code no longer gives misleads its readers. Words are compared, numbers are not: times, speeds and the last digits differ from machine to machine.
With MEND=1 in the environment such outputs are replaced by what the code gives now, with MEND=all those too that differ in numbers or pictures only: after a change of a model, or of how pictures are drawn.
What is never the same, such as a table that depends on the machine, stands in a cell with the directive `#| volatile`.
How many processor seconds a chapter took is printed, and a chapter that takes over LIMIT has failed: it is to be read in one sitting, and run as often.
With the variable KEEP_NETWORKS the states of the networks that a chapter has trained are saved in that file: tests go on with them (chapter_runs.py)."""
import json, os, re, sys, time

import nbdev.test
from execnb.shell import CaptureShell

PLAIN = nbdev.test.test_nb
# processor seconds of a chapter: twice the 60 that are aimed at, for they grow where others use the same caches. What a chapter waits for is not in them, so a busy machine changes them little
LIMIT = 120
LOOP_SECONDS = 0.07      # processor seconds of `loop_seconds` on the machine that LIMIT is meant for
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


def processor_seconds():
    "What this process and the children that it has waited for have had of the processors so far"
    return sum(os.times()[:4])


def loop_seconds():
    "Processor seconds of a bit of Python and of matrices, the best of three: what this machine is like now"
    import numpy as np
    def once():
        start, x, total = time.process_time(), np.random.default_rng(0).standard_normal((256, 256)), 0
        for _ in range(40): x = np.tanh(x @ x/16)
        for i in range(1_000_000): total += i % 7
        return time.process_time() - start
    return min(once() for _ in range(3))


def too_long(spent):
    "Why a chapter that took `spent` processor seconds is too long: a line, or None. Slower machines, which are measured only then, may take longer"
    if spent <= LIMIT: return None
    allowed = LIMIT*max(1, loop_seconds()/LOOP_SECONDS)
    return f'took {spent:.0f} processor seconds, over the {allowed:.0f} that this machine may take; let its cells do less, on smaller data' if spent > allowed else None


def test_nb(fn, *args, **kwargs):
    "nbdev's, and then the comparison; a chapter whose outputs are stale, or that took too long, has failed"
    nbdev.test.CaptureShell, Comparing.found = Comparing, []
    before = processor_seconds()
    passed, seconds = PLAIN(fn, *args, **kwargs)
    spent = processor_seconds() - before
    print(f'{fn.stem}: {spent:.1f} processor seconds')
    if passed and os.environ.get('MEND') and Comparing.found: mend(fn, Comparing.found); return passed, seconds
    if passed and os.environ.get('KEEP_NETWORKS') and 'torch' in sys.modules: keep_networks(Comparing.last.user_ns, os.environ['KEEP_NETWORKS'])
    for line, *_ in Comparing.found: print(f'{fn.name}: {line}', file=sys.stderr)
    if Comparing.found: print(f'{fn.name}: run it and save it again', file=sys.stderr)
    if long := too_long(spent): print(f'{fn.name} {long}', file=sys.stderr)
    return passed and not Comparing.found and not long, seconds


if __name__ == '__main__':
    import chapters      # by this name the workers find it; a shell makes `__main__` its own
    nbdev.test.test_nb = chapters.test_nb
    nbdev.test.nbdev_test()
