"""How the chapters read: python tests/style.py [notebook ...]

Sizes of exported cells in lines of code, words of prose per exported line, tests that a reader sees, and the share that is hidden."""
import re, sys
from pathlib import Path
from typing import NamedTuple

from book import cells, chapters

TEST = re.compile(r'\b(?:test_\w+\(|assert\b|ExceptionExpected)')


class Style(NamedTuple):
    name: str
    sizes: list    # lines of each exported cell, neither empty nor comment
    words: int     # of prose
    shown: int     # tests that are seen
    hidden: int    # tests in cells that are not

    @property
    def lines(self): return sum(self.sizes)
    @property
    def words_per_line(self): return self.words/max(1, self.lines)
    @property
    def hidden_share(self): return self.hidden/max(1, self.hidden + self.shown)
    def quantile(self, q): return sorted(self.sizes)[min(len(self.sizes) - 1, int(len(self.sizes)*q))] if self.sizes else 0


def style(name, cells):
    "Count what is in `cells`"
    tests = [(len(TEST.findall(c.source)), c.says('hide')) for c in cells if c.kind == 'code' and not c.exported]
    return Style(name,
        [sum(1 for l in c.source.splitlines() if l.strip() and not l.strip().startswith('#')) for c in cells if c.exported],
        sum(len(c.source.split()) for c in cells if c.kind == 'markdown'),
        sum(n for n, hidden in tests if not hidden),
        sum(n for n, hidden in tests if hidden))


def report(styles):
    "A table, one line per notebook, with what we aim at above it"
    rows = [('', 'cells', 'lines', 'p50', 'p90', 'max', 'words/line', 'tests', 'hidden'),
            ('aim', '', '', '<=8', '<=25', '<=25', '>=2.5', '>=8', '<25%')]
    rows += [(s.name, len(s.sizes), s.lines, s.quantile(.5), s.quantile(.9), s.quantile(1),
              f'{s.words_per_line:.1f}', s.shown, f'{s.hidden_share:.0%}') for s in styles]
    return '\n'.join(f'{r[0]:32}' + ''.join(f'{str(v):>{11 if i == 5 else 7}}' for i, v in enumerate(r[1:])) for r in rows)


def styles(): return [style(c.path.name, c.cells) for c in chapters()]


if __name__ == '__main__': print(report([style(Path(p).name, cells(p)) for p in sys.argv[1:]] or styles()))
