"""From the click on Generate to the player in a real browser (JupyterLab, the shipped model, 4 s), beside the same jingle by `generate` in the same kernel"""
import sys, tempfile, time
from pathlib import Path

CELL = """
import time
from jingles.generate import generate
from jingles.studio import Studio
studio = Studio(seconds=4)
def plain(seed):
    began = time.perf_counter(); generate(studio.model, studio.board.cond, seed=seed)
    return time.perf_counter() - began
studio"""
PLAYS = "document.querySelector('.jingles-card audio')?.duration > 0"      # the newest is the first


def clicked(page, seed):
    "Seconds from the click until the new take can be played"
    began = time.perf_counter()
    page.page.click('.jingles-generate')
    page.page.click(f'.jingles-card:has-text("seed {seed}") button:has-text("play")')
    page.page.wait_for_function(PLAYS, polling=20)
    took = time.perf_counter() - began
    page.says('done')                   # listened to, and its picture drawn
    return took


def run(rounds=3):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from lab import CHROMIUM, Kernel, Page, chromium, jupyterlab
    if not CHROMIUM: return {'not measured': 'no Chromium; as root: apt-get install chromium'}
    with tempfile.TemporaryDirectory() as d, jupyterlab(Path(d), CELL) as url, chromium() as browser:
        page = Page(browser, Path(d), url)
        page.command('notebook:run-all-cells'); page.board()
        kernel, clicks, plain = Kernel(Path(d), url), [], []
        for seed in range(1 + rounds):  # the first ones warm up
            clicks.append(clicked(page, seed)); plain.append(kernel(f'plain({seed})'))
        kernel.close()
    click, alone = (sorted(times[1:])[rounds//2] for times in (clicks, plain))
    return {'first click to player [s]': clicks[0], 'click to player [s]': click, 'generate in the kernel [s]': alone, 'click / generate': click/alone, 'at most [s]': 5.}
