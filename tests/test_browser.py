"The studio in a real browser: Chromium, steered by Playwright, against a JupyterLab that is started for the test"
import base64, json, os, shutil, subprocess, sys, time, zipfile

import nbformat
import numpy as np
import pretty_midi
import pytest

from book import ROOT
from jingles.audio import load, save
from jingles.control.curves import read_curves, save_curves
from jingles.control.draw import preset_curve, to_rows
from jingles.control.heard import curves_from_midi
from jingles.generate import demo_curves
from lab import CHROMIUM, LABCONFIG, Board, Kernel, Page, answers, chromium, free_port, jupyterlab, soon, stop

pytestmark = pytest.mark.skipif(not CHROMIUM, reason='no Chromium; as root: apt-get install chromium')
CELL = """
from jingles.studio import Studio
studio = Studio(seconds=2, keep='kept.npz')
studio.set(steps=6)
studio"""
SHOW_DEMO = 'setattr(studio.board, "cond", __import__("jingles.generate").generate.demo_curves(2, features="notes"))'


@pytest.fixture(scope='module')
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp('lab')
    with jupyterlab(folder, CELL) as url: yield folder, url


def hummed(notes=(64, 67), seconds=0.8):
    "A voice that goes up and down between two notes, for the microphone, which plays it over and over"
    f = np.repeat(440*2**((np.array(notes) - 69)/12), int(seconds*24000))
    return 0.2*sum(np.sin(k*2*np.pi*np.cumsum(f)/24000)/k for k in (1, 2, 3))


@pytest.fixture(scope='module')
def browser(lab):
    "Chromium, with a microphone that hears the same two notes over and over"
    save(lab[0]/'hum.wav', hummed())
    with chromium('--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', f"--use-file-for-fake-audio-capture={lab[0]/'hum.wav'}") as browser: yield browser


RECORDER = """
const plain = AudioNode.prototype.connect;              // all that goes to the loudspeaker is written down, too
window.heard = [];
AudioNode.prototype.connect = function (to, ...rest) {
  if (to instanceof AudioDestinationNode) {
    if (!this.context.tap) {                            // one for all sounds: it hears their sum
      const tap = this.context.tap = this.context.createScriptProcessor(1024, 1, 1);
      tap.onaudioprocess = (e) => window.heard.push(...e.inputBuffer.getChannelData(0));
      plain.call(tap, to);
    }
    plain.call(this, this.context.tap);
  }
  return plain.call(this, to, ...rest);
};"""


@pytest.fixture(scope='module')
def page(lab, browser):
    "The notebook, run, with the board on it"
    page = Page(browser, *lab, before=RECORDER)
    page.command('notebook:run-all-cells')
    page.board()
    return page


def saved(page):
    "The widgets' state in the saved notebook; nothing while it is being written"
    try: widgets = nbformat.read(page.folder/'draw.ipynb', 4).metadata.get('widgets', {})
    except ValueError: return {}
    return widgets.get('application/vnd.jupyter.widget-state+json', {}).get('state', {})


def saved_with(page, rows):
    "Is it true that `rows` are in the saved notebook? Saves until it is, or for too long: what Python sets takes a moment to get to the page"
    def save():
        page.command('docmanager:save'); time.sleep(1)
        return rows.astype('<f4').tobytes() in saved_bytes(page)
    return soon(save, bool, 1)


def saved_bytes(page): return [base64.b64decode(b['data']) for model in saved(page).values() for b in model.get('buffers', [])]


@pytest.fixture
def kernel(lab, page):
    kernel = Kernel(*lab)
    yield kernel
    kernel.close()


def test_mouse(page, kernel):
    "What the kernel holds is the gesture: exactly for notes and what is erased, to a pixel for a free hand"
    before = kernel.rows
    page.tool('Straight line')
    page.drag('velocity', (0.25, 0.2), (0.75, 0.9))
    rows = soon(lambda: kernel.rows, lambda r: (r != before).any())
    line = np.interp(np.arange(38, 112), [37.5, 112.5], [0.2, 0.9])
    assert np.abs(rows[0, 38:112] - line).max() < 1.6/90            # the lane is 90 pixels high
    assert (rows[0, :37] == before[0, :37]).all() and (rows[0, 113:] == before[0, 113:]).all() and (rows[1:] == before[1:]).all()

    page.tool('Draw')
    page.drag('chroma', (0.1, 7/11), (0.6, 7/11))
    drawn = soon(lambda: kernel.rows, lambda r: (r != rows).any())
    assert (drawn[2, 15:90] == np.float32(7/11)).all() and (drawn[2, 92:] == rows[2, 92:]).all()
    assert ((drawn[1, 15:90] == -1) | (np.round(85*drawn[1, 15:90] + 23) % 12 == 7)).all()           # pitches of another name are open

    page.tool('Erase')
    page.drag('trumpet', (0.5, 0.5), (0.8, 0.5))
    erased = soon(lambda: kernel.rows, lambda r: (r != drawn).any())
    assert (erased[3:, 75:120] == -1).all() and (erased[3:, :74] == drawn[3:, :74]).all() and (erased[3:, 122:] == drawn[3:, 122:]).all()

    page.tool('Smooth')
    rough = lambda r: np.abs(np.diff(r[0, 30:45])).max()            # the note's end at 0.45 s
    page.drag('velocity', (0.2, 0.5), (0.3, 0.5))
    assert rough(soon(lambda: kernel.rows, lambda r: (r != erased).any())) < 0.8*rough(erased)

    page.page.click('.jingles-draw button[aria-label^="Undo"]')
    assert (soon(lambda: kernel.rows, lambda r: (r == erased).all()) == erased).all()
    page.page.click('.jingles-draw button[aria-label^="Undo"]')
    assert (soon(lambda: kernel.rows, lambda r: (r == drawn).all()) == drawn).all()
    page.page.click('.jingles-draw button[aria-label^="Redo"]')
    assert (soon(lambda: kernel.rows, lambda r: (r == erased).all()) == erased).all()
    page.page.screenshot(path=page.folder/'drawn.png')


def test_finger_keys_and_presets(page, kernel):
    page.tool('Draw')
    before = kernel.rows
    page.touch('piano', (0.1, 0.5), (0.4, 0.5))
    rows = soon(lambda: kernel.rows, lambda r: (r != before).any())
    assert np.abs(rows[3, 17:58] - 0.5).max() < 1/28 and np.abs(rows[3:, 17:58].sum(0) - 1).max() < 1e-6      # the others make room

    canvas = page.page.locator('.jingles-draw .field > canvas')
    canvas.focus()
    for key in ('PageUp', 'Home', 'Delete', 'ArrowRight', 'ArrowUp', 'Shift+ArrowRight'): canvas.press(key)     # from piano to chroma
    keyed = soon(lambda: kernel.rows, lambda r: (r[2, :8] == -1).all() and r[2, 17] == r[2, 9])
    assert (keyed[2, :8] == -1).all() and (keyed[2, 8:24] == np.float32(min(11, round(11*rows[2, 8]) + 1)/11)).all()
    assert 'chroma' in page.page.text_content('.jingles-draw .said')
    for _ in range(3): canvas.press('Control+z')
    assert (soon(lambda: kernel.rows, lambda r: (r == rows).all()) == rows).all()

    page.choose('Presets', 'velocity: crescendo')
    rising = preset_curve('velocity', 'crescendo', 150)[0]
    assert (soon(lambda: kernel.rows[0], lambda r: (r == rising).all()) == rising).all()


def test_palm_and_scale(page, kernel):
    "A second finger draws nothing and one Undo brings back what there was; on a page at half its size the stroke is under the pointer; names scroll"
    page.tool('Draw')
    before, undo = kernel.rows, '.jingles-draw button[aria-label^="Undo"]'
    cdp = page.page.context.new_cdp_session(page.page)
    def fingers(kind, *places): cdp.send('Input.dispatchTouchEvent', dict(type=kind, touchPoints=[dict(zip('xy', page.point(*p)), id=i) for i, p in enumerate(places)]))
    fingers('touchStart', ('velocity', 0.1, 0.9))
    fingers('touchMove', ('velocity', 0.12, 0.9))                 # it draws; two that begin together would zoom
    fingers('touchStart', ('velocity', 0.12, 0.9), ('velocity', 0.9, 0.1))
    for k in range(2, 6): fingers('touchMove', ('velocity', 0.1 + 0.02*k, 0.9), ('velocity', 0.9 - 0.1*k, 0.1))
    fingers('touchEnd')
    drawn = soon(lambda: kernel.rows, lambda r: (r != before).any())
    assert set(np.nonzero((drawn != before).any(0))[0]) <= set(range(14, 32)) and np.abs(drawn[0, 15:30] - 0.9).max() < 0.02
    page.page.click(undo)
    assert (soon(lambda: kernel.rows, lambda r: (r == before).all()) == before).all()

    page.page.evaluate("document.querySelector('.jingles-draw').style = 'transform: scale(0.5); transform-origin: 0 0'")
    page.drag('velocity', (0.85, 0.9), (0.95, 0.9))
    drawn = soon(lambda: kernel.rows, lambda r: (r != before).any())
    assert (drawn[:, :126] == before[:, :126]).all() and np.abs(drawn[0, 128:142] - 0.9).max() < 0.03
    page.page.evaluate("document.querySelector('.jingles-draw').style = ''")
    page.page.click(undo)
    assert (soon(lambda: kernel.rows, lambda r: (r == before).all()) == before).all()
    assert page.page.evaluate("['.field > canvas', '.names', '.below'].map((k) => getComputedStyle(document.querySelector('.jingles-draw ' + k)).touchAction)") == ['none', 'manipulation', 'pan-y']


def test_zoom(page, kernel):
    "Wheel, keys, scroll bar and two fingers change what is seen of the time, on a phone, too; what is drawn there is where it is seen"
    kernel(SHOW_DEMO)
    p, canvas, seen = page.page, page.page.locator('.jingles-draw .field > canvas'), lambda: [float(f) for f in page.page.get_attribute('.jingles-draw', 'data-view').split()]
    whole, is_zoomed, is_whole = kernel.rows, '.jingles-draw:not([data-view=""])', '.jingles-draw[data-view=""]'
    p.mouse.move(*page.point('velocity', 0.75, 0.5))
    for _ in range(4):
        before = p.get_attribute('.jingles-draw', 'data-view')
        p.keyboard.down('Control'); p.mouse.wheel(0, -100); p.keyboard.up('Control')
        p.wait_for_function(f"document.querySelector('.jingles-draw').dataset.view !== {json.dumps(before)}")
    start, stop = seen()
    assert stop - start < 25 and abs(start + 0.75*(stop - start) - 112.5) < 0.5      # what was under the pointer still is
    page.tool('Draw'); page.drag('velocity', (0.25, 0.1), (0.6, 0.1))
    drawn = soon(lambda: kernel.rows, lambda r: (r != whole).any())
    first, last = (int(start + share*(stop - start)) for share in (0.25, 0.6))
    assert np.abs(drawn[0, first + 1:last] - 0.1).max() < 0.02 and (drawn[0, :first - 1] == whole[0, :first - 1]).all() and (drawn[0, last + 2:] == whole[0, last + 2:]).all()
    canvas.press('Control+z'); canvas.press('0'); p.wait_for_selector(is_whole)
    assert (soon(lambda: kernel.rows, lambda r: (r == whole).all()) == whole).all()

    p.set_viewport_size(dict(width=390, height=844)); page.board()
    cdp = p.context.new_cdp_session(p)
    def fingers(kind, *places): cdp.send('Input.dispatchTouchEvent', dict(type=kind, touchPoints=[dict(zip('xy', page.point(*place)), id=i) for i, place in enumerate(places)]))
    fingers('touchStart', ('velocity', 0.4, 0.5)); fingers('touchStart', ('velocity', 0.4, 0.5), ('velocity', 0.6, 0.5))
    for k in range(1, 6): fingers('touchMove', ('velocity', 0.4 - 0.04*k, 0.5), ('velocity', 0.6 + 0.04*k, 0.5))
    fingers('touchEnd'); p.wait_for_selector(is_zoomed)
    start, stop = seen()
    assert abs(start - 50) < 3 and abs(stop - 100) < 3 and (kernel.rows == whole).all()      # 0.4 and 0.6 of 150 frames are at 0.2 and 0.8
    page.touch('velocity', (0.1, 0.1), (0.3, 0.1))                                       # one finger draws, where it is
    drawn = soon(lambda: kernel.rows, lambda r: (r != whole).any())
    assert (drawn[0, 58:63] < 0.15).all() and (drawn[0, :int(start) + 3] == whole[0, :int(start) + 3]).all() and (drawn[0, 68:] == whole[0, 68:]).all()
    p.locator('.jingles-draw .overview').scroll_into_view_if_needed()
    bar = p.locator('.jingles-draw .overview').bounding_box()
    p.mouse.move(bar['x'] + bar['width']/2, bar['y'] + bar['height']/2); p.mouse.down(); p.mouse.move(bar['x'] + 2*bar['width'], bar['y']); p.mouse.up()
    assert soon(seen, lambda v: v[1] == 150)[1] == 150
    p.click('.jingles-draw button[aria-label^="Show all of the time"]'); p.wait_for_selector(is_whole)
    assert p.evaluate('(({ left, right }) => left >= 0 && right <= innerWidth)(document.querySelector(".jingles-draw .timebar").getBoundingClientRect())')
    p.set_viewport_size(dict(width=1200, height=1300)); page.board(); canvas.press('Control+z')
    assert (soon(lambda: kernel.rows, lambda r: (r == whole).all()) == whole).all()


def test_themes(page):
    "The board is light on a light page and dark on a dark one"
    corner = "[...document.querySelector('.jingles-draw .field > canvas').getContext('2d').getImageData(2, 2, 1, 1).data]"
    light = page.page.evaluate(corner)
    page.page.evaluate("void jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    dark = soon(lambda: page.page.evaluate(corner), lambda c: max(c[:3]) < 60)
    page.page.evaluate("void jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")
    assert min(light[:3]) > 200 and max(dark[:3]) < 60 and soon(lambda: page.page.evaluate(corner), lambda c: c == light) == light


def test_files_and_humming(page, kernel):
    "A file is opened from the browser and saved to it; what is hummed becomes notes"
    save_curves(page.folder/'given.csv', demo_curves(1))
    with page.page.expect_download() as download:
        page.page.set_input_files('.jingles-draw input[type=file]', page.folder/'given.csv')
        assert soon(lambda: kernel.rows.shape, lambda shape: shape == (6, 75)) == (6, 75)
        page.choose('Save the curves', 'npz')
    download.value.save_as(page.folder/'saved.npz')
    assert (to_rows(read_curves(page.folder/'saved.npz'), 'notes') == to_rows(demo_curves(1), 'notes')).all() and (kernel.rows == to_rows(demo_curves(1), 'notes')).all()      # without a pitch: it is open

    midi = pretty_midi.PrettyMIDI()
    midi.instruments = [pretty_midi.Instrument(40)]
    midi.instruments[0].notes = [pretty_midi.Note(60 + 20*k, 60 + 4*k, 0.5*k, 0.5*k + 0.4) for k in range(3)]
    midi.write(str(page.folder/'tune.mid'))
    tune = to_rows(curves_from_midi(page.folder/'tune.mid', 1, features='notes'), 'notes')
    page.page.set_input_files('.jingles-draw input[type=file]', page.folder/'tune.mid')
    assert (soon(lambda: kernel.rows, lambda r: (r == tune).all()) == tune).all()
    page.page.wait_for_selector('.jingles-draw .said:has-text("tune.mid is what is drawn")')      # the kernel has the curves before the page has the words

    length = page.page.locator('.jingles-draw input[aria-label="Length in seconds"]')
    length.click(click_count=3); length.press_sequentially('2'); length.press('Tab')
    assert soon(lambda: kernel.rows.shape, lambda shape: shape == (6, 150)) == (6, 150)
    before = kernel.rows
    page.tool('Hum')
    heard = soon(lambda: kernel.rows, lambda r: (r != before).any(), 20)
    share = lambda note: (np.round(11*heard[2]) == note)[heard[0] > 0].mean()
    assert share(4) > 0.2 and share(7) > 0.2 and share(4) + share(7) > 0.85 and (heard[3:] == -1).all()       # E and G
    assert (np.round(85*heard[1] + 23) % 12 == np.round(11*heard[2]))[heard[0] > 0].all()


def test_generate(page, kernel):
    "A click leads to a sound on the board, and what was asked for is what was drawn"
    sounds = page.state('sounds')
    page.generate()
    asked, drawn = (np.array(kernel(f'{c}["velocity"][0, 0].tolist()'), np.float32) for c in ('studio.takes[0].cond', 'studio.board.cond'))
    assert (asked == drawn).all() and page.state('sounds') > sounds
    page.tool('Play')
    page.page.wait_for_selector('.jingles-draw[data-playing=true]')
    page.tool('Play')
    page.page.wait_for_selector('.jingles-draw[data-playing=false]')
    with page.page.expect_download() as download: page.page.click('.take button[aria-label=Download]')
    download.value.save_as(page.folder/'take.wav')
    assert download.value.suggested_filename == 'jingle-0.wav' and len(load(page.folder/'take.wav')) == 48000
    page.page.click('.take button[aria-label=Keep]')
    assert soon(lambda: kernel('studio.cards[0].keep'), bool)
    painted = """() => { const c = document.querySelector('.take canvas'); const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
                  return new Set([...Array(400).keys()].map((i) => d.slice(4*i*31, 4*i*31 + 3).join())).size > 20 }"""
    page.page.wait_for_function(painted)                # the small picture: curves and spectrogram
    page.page.screenshot(path=page.folder/'generated.png', full_page=True)


def test_settings(page, kernel):
    "What is set on the page is set in the kernel, refused values are said and taken back, and what Python sets is shown"
    page.page.click('.jingles-draw details.advanced summary')
    page.page.select_option('.jingles-draw [data-option=quality]', label='Draft')
    assert soon(lambda: kernel('studio.settings["steps"]'), lambda n: n == 6) == 6
    steps = page.page.locator('.jingles-draw [data-option=steps]')
    assert soon(steps.input_value, lambda n: n == '6') == '6'      # quality is a number of steps
    steps.fill('7'); steps.press('Tab')
    assert soon(lambda: kernel('studio.settings["quality"]'), lambda q: q == 'custom') == 'custom'
    steps.fill('0'); steps.press('Tab')
    page.page.wait_for_selector('.jingles-draw .said:has-text("expected a whole number, 1 to")')
    assert kernel('studio.settings["steps"]') == 7
    assert steps.input_value() == '7'
    kernel('studio.set(**{"guidance.velocity": 2.5, "steps": 6})')
    guidance = page.page.locator('.jingles-draw [data-option="guidance.velocity"]')
    assert soon(guidance.input_value, lambda v: v == '2.5') == '2.5'
    page.page.click('.jingles-draw details.advanced summary')


def test_stop(page, kernel):
    before = kernel('[t.seed for t in studio.takes]')
    kernel('studio.set(steps=1000)')
    page.page.click('.jingles-generate')
    page.page.wait_for_selector('.jingles-draw[data-busy=true]')
    first = soon(lambda: kernel('studio.progress'), lambda share: share > 0)   # the click has arrived, and the bar moves ...
    second = soon(lambda: kernel('studio.progress'), lambda share: share > first)
    assert 0 < first < second < 1                                              # ... step by step
    assert kernel('[6*7, studio.worker.is_alive()]') == [42, True]             # the kernel answers while it samples
    page.page.click('.jingles-stop:not([disabled])')
    page.status('cancelled')
    assert not soon(lambda: kernel('studio.worker.is_alive()'), lambda alive: not alive)
    assert kernel('studio.progress') < 1 and kernel('[t.seed for t in studio.takes]') == before       # nothing new, and nothing lost
    kernel('studio.set(steps=6)')


def test_live(page, kernel):
    "With Live on, lifting the finger is enough: a preview is heard, full quality follows, what was not changed stays, and the kernel answers meanwhile"
    kernel('setattr(studio.board, "cond", __import__("jingles.generate").generate.demo_curves(2, features="notes"))')
    kernel('studio.set(steps=12, start="new")')
    page.page.click('.jingles-draw .live')
    page.status('refined')
    page.page.wait_for_selector('.jingles-draw[data-playing=true]')            # by itself
    before, sounds = np.array(kernel('studio.chosen.wav.tolist()')), page.state('sounds')
    page.tool('Draw')
    page.page.evaluate("""window.codes = []; new MutationObserver(() => window.codes.push(document.querySelector('.jingles-draw').dataset.status))
                          .observe(document.querySelector('.jingles-draw'), {attributes: true, attributeFilter: ['data-status']})""")
    page.drag('velocity', (0.7, 0.2), (0.95, 0.2))
    page.page.wait_for_function("window.codes.includes('preview') && window.codes.at(-1) === 'refined'")
    assert kernel('6*7') == 42
    assert page.state('sounds') >= sounds + 2                                  # the preview, and what replaced it
    page.page.wait_for_selector('.jingles-draw[data-playing=true]')            # it went on
    after = np.array(kernel('studio.chosen.wav.tolist()'))
    assert (after[:28000] == before[:28000]).all() and np.abs(after - before)[36000:].max() > 0.01
    assert kernel('[studio.chosen.seed, studio.chosen.words]') == [kernel('studio.takes[0].seed'), ['live']]


def test_live_drops_what_is_old(page, kernel):
    "Of many strokes in a row only the newest is generated; none is queued"
    kernel('setattr(studio, "seen", []) or studio.observe(lambda c: studio.seen.append(c["new"]["code"]), "status")')
    kernel('studio.drawing.acquire()')                                          # the network is busy
    for k in range(5): page.drag('velocity', (0.1 + 0.1*k, 0.5), (0.15 + 0.1*k, 0.6), steps=3)
    rows = soon(lambda: kernel.rows, lambda r: abs(r[0, 79] - 0.55) < 0.06)
    assert soon(lambda: kernel('studio.live.latest.replaced'), lambda n: n >= 3) >= 3
    kernel('studio.drawing.release()')
    newest = lambda: np.array(kernel('studio.chosen.cond["velocity"][0, 0].tolist()'), np.float32)
    assert (soon(newest, lambda v: (v == rows[0]).all(), 60) == rows[0]).all()
    assert kernel('studio.seen.count("preview")') <= 2
    kernel('setattr(studio, "ended", studio.live.thread)')
    page.page.click('.jingles-draw .live')
    assert soon(lambda: kernel('studio.live is None'), bool)
    assert soon(lambda: kernel('studio.ended.is_alive()'), lambda alive: not alive, 60) is False      # what it was at is shown, and disturbs no other test


def test_crossfade_has_no_gap(page, kernel):
    "A new sound takes over from the one that plays: what goes to the loudspeaker is never silent in between"
    def show(level):                                    # a steady level of 20 s: any gap would be a zero
        sounds = page.state('sounds')
        kernel(f'studio.board.show(__import__("numpy").full(480000, {level}, "float32"))')
        page.page.wait_for_function(f"Number(document.querySelector('.jingles-draw').dataset.sounds) > {sounds}")
    if page.page.query_selector('.jingles-draw[data-playing=true]'):    # what an earlier test left
        page.tool('Play')
        page.page.wait_for_selector('.jingles-draw[data-playing=false]')
    def steady(level): page.page.wait_for_function(f'window.heard.length >= 512 && window.heard.slice(-512).every((v) => Math.abs(v - {level}) < 0.02)')
    show(0.2)
    page.page.evaluate('window.heard = []')
    page.tool('Play')
    steady(0.2)
    page.page.evaluate('window.heard = []')
    for level in (0.4, 0.3, 0.5):
        show(level)
        steady(level)
    playing = np.array(page.page.evaluate('window.heard'))
    page.tool('Play')
    assert playing.min() > 0.17 and playing.max() < 0.53, (playing.min(), playing.max())


def test_selection_grid_and_locks(page, kernel):
    "A stretch is selected, moved and scaled with mouse, finger and keys; a locked lane is left alone; on a grid drawing makes steps"
    kernel(SHOW_DEMO)
    page.board()
    region = lambda: page.page.get_attribute('.jingles-draw', 'data-region').split()
    rows, canvas = kernel.rows, page.page.locator('.jingles-draw .field > canvas')
    page.tool('Select')
    page.drag('velocity', (0.2, 0.5), (0.4, 0.5))
    start, stop, lanes = soon(region, len)
    assert (abs(int(start) - 30) < 2, abs(int(stop) - 61) < 2, lanes) == (True, True, 'velocity')
    page.drag('velocity', (0.3, 0.5), (0.7, 0.5))
    moved = soon(lambda: kernel.rows, lambda r: (r != rows).any())
    assert (moved[0, 92:118] == rows[0, 32:58]).all() and (moved[0, 32:58] == -1).all() and (moved[1:] == rows[1:]).all()
    canvas.press('Control+z')
    assert (soon(lambda: kernel.rows, lambda r: (r == rows).all()) == rows).all()
    canvas.press('Escape'); assert region() == []
    page.touch('piano', (0.5, 0.5), (0.8, 0.5))
    assert soon(region, len)[2] == 'piano,violin,trumpet'                        # they go together
    page.page.click('.jingles-draw .region button[aria-label^="Leave"]')
    assert (soon(lambda: kernel.rows, lambda r: (r[3:, 80:115] == -1).all())[3:, 80:115] == -1).all()
    canvas.press('Control+z'); canvas.press('Escape')
    page.page.click('.jingles-draw .padlock[aria-label^="Lock velocity"]')
    assert soon(lambda: kernel('studio.locked'), len) == ['velocity']
    page.tool('Draw'); page.drag('velocity', (0.1, 0.1), (0.9, 0.1))
    page.page.wait_for_selector('.jingles-draw .said:has-text("velocity is locked")')
    page.choose('Presets', 'velocity: crescendo')
    page.page.wait_for_selector('.jingles-draw .said:has-text("unlock it beside its name")')
    assert (kernel.rows == rows).all()
    page.page.click('.jingles-draw .padlock[aria-label^="Unlock velocity"]')
    page.page.select_option('.jingles-draw select[aria-label=Grid]', label='1/4')
    page.drag('velocity', (0.3, 0.25), (0.31, 0.25))
    drawn = soon(lambda: kernel.rows, lambda r: (r != rows).any())               # at 120 bpm a beat is 37.5 frames
    assert (drawn[0, 38:75] == drawn[0, 50]).all() and (drawn[0, :38] == rows[0, :38]).all() and (drawn[0, 75:] == rows[0, 75:]).all()
    assert kernel('studio.grid') == dict(bpm=120., division=1)
    page.page.select_option('.jingles-draw select[aria-label=Grid]', label='Grid off')


def test_a_band_is_drawn_and_followed(page, kernel):
    "Dragged away from a curve, a band is what the kernel has, the take is guided by it, and its receipt says the time inside"
    kernel(SHOW_DEMO); kernel('studio.set(steps=4)')
    page.board()
    rows, canvas = kernel.rows, page.page.locator('.jingles-draw .field > canvas')
    page.tool('Band')
    level = float(rows[0, 60])                                                   # of the note around 0.8 s
    page.drag('velocity', (0.35, level + 0.2), (0.45, level + 0.2))
    drawn = soon(lambda: kernel('studio.widths'), len)
    assert list(drawn) == ['velocity'] and len(drawn['velocity']) == 150
    assert abs(drawn['velocity'][60] - 0.2) < 0.03 and drawn['velocity'][120] == 0.05 and (kernel.rows == rows).all()
    page.generate()
    lines = soon(lambda: kernel('studio.strip[0]["receipt"]'), len)
    assert any(line.startswith('time inside the band: velocity') for line in lines), lines
    assert kernel('list(studio.takes[0].widths)') == ['velocity']
    page.choose('Width of the band around a curve, or of what is selected of it', 'pitch: ± 3 semitones')
    assert sorted(soon(lambda: kernel('studio.widths'), lambda w: len(w) > 1)) == ['pitch', 'velocity']
    page.page.screenshot(path=page.folder/'band.png')
    canvas.press('Control+z'); canvas.press('Control+z')
    assert soon(lambda: kernel('studio.widths'), lambda w: not w) == {} and (kernel.rows == rows).all()
    page.tool('Draw')


def test_voices(page, kernel):
    "A second voice is drawn in front of the first, both sound in one take, and a file of chords fills both; removed it leaves one"
    kernel(SHOW_DEMO); kernel('studio.set(steps=4)')
    page.board()
    rows, voices, chip = kernel.rows, lambda: page.state('voices'), lambda name: page.page.click(f'.jingles-draw button[aria-label^="{name}"]')
    assert voices() == 1
    chip('Add a voice'); soon(voices, lambda n: n == 2)
    assert (soon(lambda: kernel.rows, lambda r: (r == -1).all()) == -1).all()
    page.tool('Draw'); page.drag('velocity', (0.1, 0.4), (0.9, 0.4)); page.drag('pitch', (0.1, 0.3), (0.9, 0.3))
    drawn = soon(lambda: kernel.rows, lambda r: (r[1] > 0).any())
    page.generate()
    assert kernel('[studio.takes[0].voices, len(studio.takes[0].stems)]') == [2, 2]
    page.page.screenshot(path=page.folder/'voices.png')
    chip('Voice 1'); assert (soon(lambda: kernel.rows, lambda r: (r == rows).all()) == rows).all()
    score, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(90, p, 0, 2) for p in (72, 60)]
    score.instruments.append(piano); score.write(str(page.folder/'chords.mid'))
    page.page.set_input_files('.jingles-draw input[type=file]:not(.begin)', page.folder/'chords.mid')
    page.page.wait_for_selector('.jingles-draw .said:has-text("fills the 2 voices")')
    assert round(85*kernel.rows[1, 50] + 23) == 72
    chip('Voice 2'); low = soon(lambda: kernel.rows, lambda r: round(85*r[1, 50] + 23) == 60)
    assert round(85*low[1, 50] + 23) == 60
    page.page.click('.jingles-draw button[aria-label^="Undo"]')                  # in each voice for itself
    assert (soon(lambda: kernel.rows, lambda r: (r == drawn).all()) == drawn).all()
    chip('Remove this voice'); soon(voices, lambda n: n == 1)
    assert kernel('studio.voice_count') == 1 and round(85*kernel.rows[1, 50] + 23) == 72


def test_takes_are_compared_and_saved(page, kernel):
    "A stretch is redone, A and B are switched between while it plays, a sound of one's own is a start, all takes are saved"
    kernel(SHOW_DEMO); kernel('studio.set(steps=4, start="new", variations=1)')
    page.generate()
    seed = kernel('studio.settings["seed"]')
    page.page.click('.jingles-draw button[aria-label="A random seed"]')
    assert soon(lambda: kernel('studio.settings["seed"]'), lambda s: s != seed) != seed
    page.tool('Select'); page.drag('velocity', (0.4, 0.5), (0.6, 0.5))
    newest = kernel('studio.cards[0].id')
    page.page.click('.jingles-draw .region button[aria-label^="Generate this stretch"]')
    assert soon(lambda: kernel('studio.takes[0].words'), lambda w: w == ['region redone'], 60) == ['region redone']
    page.status('done')
    page.page.click(f'.take[data-take="{newest}"] button[aria-label=Compare]')
    page.page.wait_for_selector('.jingles-draw[data-side=A]')
    assert (kernel('studio.pair')[1], kernel('studio.chosen is studio.takes[0]')) == (newest, True)
    page.page.click('.take .seen')                                                # the picture plays its take
    page.page.wait_for_selector('.jingles-draw[data-playing=true]')
    page.page.click('.jingles-draw .swap')
    page.page.wait_for_selector('.jingles-draw[data-side=B]')
    assert soon(lambda: kernel('next(c.id for c in studio.cards if c.take is studio.chosen)'), lambda i: i == newest) == newest
    with page.page.expect_download() as download: page.page.click('.take button[aria-label="Download MIDI"]')
    download.value.save_as(page.folder/'take.mid')
    assert download.value.suggested_filename.endswith('.mid') and pretty_midi.PrettyMIDI(str(page.folder/'take.mid')).instruments
    page.page.set_input_files('.jingles-draw input.begin', page.folder/'hum.wav')
    assert soon(lambda: kernel('studio.takes[0].how'), lambda how: how == 'hum') == 'hum'
    assert kernel('studio.settings["start"]') == 'varied' and kernel('studio.chosen.how') == 'hum'
    with page.page.expect_download() as download: page.page.click('.jingles-draw button[aria-label^="Save all takes"]')
    download.value.save_as(page.folder/'takes.zip')
    assert len(zipfile.ZipFile(page.folder/'takes.zip').namelist()) == kernel('len(studio.cards)') >= 3
    kernel('studio.set(start="new", steps=6)')


def test_an_instrument_and_flac_are_downloaded(page, kernel):
    "What the buttons give: an SFZ file with its samples, and a take as FLAC; *Until* has a switch, and a score"
    kernel(SHOW_DEMO); kernel('studio.set(steps=6, start="new", variations=1, new_seed=False)')
    page.generate()
    page.page.click('.jingles-draw summary:has-text("Advanced")')
    for name, value in (('key_step', 12), ('layers', 1)):
        page.page.fill(f'input[data-option={name}]', str(value)); page.page.keyboard.press('Tab')
    assert soon(lambda: kernel('[studio.settings[k] for k in ("key_step", "layers")]'), lambda v: v == [12, 1]) == [12, 1]
    with page.page.expect_download() as download: page.page.click('.jingles-draw button[aria-label^="Sample the drawn velocity"]')
    download.value.save_as(page.folder/'instrument.zip')
    names = zipfile.ZipFile(page.folder/'instrument.zip').namelist()
    assert download.value.suggested_filename.endswith('.zip') and sum(n.endswith('.sfz') for n in names) == 1 < len(names) <= 5
    page.page.wait_for_selector('.jingles-draw .said:has-text("samples of 4 asked")')
    page.page.select_option('select[data-option=save_as]', label='FLAC, 24 bit, 48 kHz')
    assert soon(lambda: kernel('studio.settings["save_as"]'), lambda v: v == 'flac') == 'flac'
    with page.page.expect_download() as download: page.page.click('.take button[aria-label=Download]')
    download.value.save_as(page.folder/'take.flac')
    assert download.value.suggested_filename.endswith('.flac') and (page.folder/'take.flac').read_bytes()[:4] == b'fLaC'
    page.page.check('input[type=checkbox][data-option=until]')
    assert soon(lambda: kernel('studio.settings["until"]'), lambda v: v == 0.95) == 0.95
    kernel('studio.set(until=None, save_as="small", new_seed=True)')
    page.page.click('.jingles-draw summary:has-text("Advanced")')


def test_mismatches_are_marked(page, kernel):
    "Where a result does not follow, and only there, its lane is red: here half of a take is another's sound"
    kernel(SHOW_DEMO); kernel('studio.set(steps=6)')
    page.page.keyboard.press('Escape')
    page.generate()
    wrong = 'studio.takes[0]._replace(wav=__import__("numpy").concatenate([studio.takes[0].wav[:24000], studio.takes[0].wav[:24000]]))'
    kernel(f'studio.show_take(__import__("jingles.studio").studio.with_measured({wrong}, studio.model.features))')
    marked = np.array(kernel('__import__("numpy").frombuffer(studio.mismatches, "<f4").reshape(6, -1)[1].tolist()')) > 0       # pitch
    frames = len(marked)
    assert 0.1 < marked.mean() < 0.9 and marked[frames//2:].mean() > marked[:frames//2].mean()
    red = """() => { const c = document.querySelector('.jingles-draw .field > canvas'), place = JSON.parse(c.dataset.place), dpr = c.width/c.clientWidth, [top, height] = place.lanes.pitch;
             const x0 = place.left*dpr, w = (place.right - place.left)*dpr, d = c.getContext('2d').getImageData(x0, (top + 2)*dpr, w, (height - 4)*dpr);
             return [...Array(%d).keys()].map((f) => { const x = Math.floor((f + .5)/%d*d.width); let n = 0; for (let y = 0; y < d.height; y++) { const i = 4*(y*d.width + x); n += d.data[i] - d.data[i + 1] > 20; } return n/d.height; }) }""" % (frames, frames)
    seen = lambda: np.array(page.page.evaluate(red)) > 0.6
    inside = np.convolve(marked, np.ones(3), 'same') % 3 == 0                     # not at the edges of a mark, where a pixel is of both
    assert (soon(seen, lambda s: (s == marked)[inside].all()) == marked)[inside].all()


def test_another_model(page, kernel):
    "The chooser changes the model, its lanes and settings; and back. As much is seen, and what both models have is undone as before"
    kernel(SHOW_DEMO)
    pitch, view = kernel.rows[1], lambda: page.page.get_attribute('.jingles-draw', 'data-view')
    page.page.keyboard.press('Escape'); page.tool('Draw')
    page.drag('pitch', (0.2, 0.8), (0.4, 0.8)); page.drag('velocity', (0.2, 0.1), (0.4, 0.1))
    drawn = kernel.rows[1]
    page.tool('Zoom in'); zoomed = view()
    assert (drawn != pitch).any() and len(zoomed.split()) == 2
    page.page.select_option('.jingles-draw [data-option=model]', label='sound')
    page.page.wait_for_function("JSON.parse(document.querySelector('.jingles-draw .field > canvas')?.dataset.place ?? '{}').lanes?.loudness")
    assert (kernel('[studio.model_name, len(studio.lanes)]'), (kernel.rows[0] == drawn).all(), view()) == (['sound', 5], True, zoomed)
    page.tool('Undo')
    assert (soon(lambda: kernel.rows[0], lambda v: (v == pitch).all()) == pitch).all()
    page.page.select_option('.jingles-draw [data-option=model]', label='notes')
    page.page.wait_for_function("JSON.parse(document.querySelector('.jingles-draw .field > canvas')?.dataset.place ?? '{}').lanes?.chroma")
    assert ((kernel.rows[1] == pitch).all(), view()) == (True, zoomed)
    page.tool('Redo')
    assert (soon(lambda: kernel.rows[1], lambda v: (v == drawn).all()) == drawn).all()
    page.tool('Show all')
    assert view() == ''


HOLD_MODELS = """
import threading, jingles.studio
studio.asked, studio.used, studio.seen, studio.go, load_now = [], [], [], threading.Event(), jingles.studio.load_named
def held(studio, name):
    studio.asked.append(name); studio.go.wait()
    return load_now(studio, name)
jingles.studio.load_named = held
studio.observe(lambda change: studio.used.append(studio.model_name), 'options')
studio.observe(lambda change: studio.seen.append(change['new']['code']), 'status')
"""


def test_model_while_live(page, kernel):
    "While Live is on another model is chosen, and another before that one is there: it goes on, with the newest; what cannot be loaded is said, and a folder is typed"
    kernel(SHOW_DEMO); kernel('studio.set(steps=4, start="new")')
    page.page.click('.jingles-draw .live'); page.status('refined')
    kernel(f'exec({HOLD_MODELS!r})')
    choose = lambda label: page.page.select_option('.jingles-draw select[data-option=model]', label=label)
    chosen = lambda name: page.page.wait_for_function("(name) => document.querySelector('.jingles-draw select[data-option=model]')?.selectedOptions[0].text === name", arg=name)
    played = lambda: kernel('[studio.model_name, studio.chosen.by[1], studio.rows[0].tolist() == studio.chosen.cond["velocity"][0, 0].tolist()]')
    choose('sound'); assert soon(lambda: kernel('studio.asked'), len) == ['sound']
    choose('notes-few'); assert soon(lambda: kernel('studio.loader.latest.request'), lambda name: name == 'notes-few') == 'notes-few'
    before = kernel.rows
    page.drag('velocity', (0.1, 0.2), (0.3, 0.2))
    assert (soon(lambda: kernel.rows, lambda r: (r != before).any()) != before).any()
    assert soon(played, lambda v: v == ['notes', 'notes', True], 60) == ['notes', 'notes', True]      # the model that is there goes on
    rows = kernel.rows
    kernel('studio.go.set()'); chosen('notes-few')
    assert soon(played, lambda v: v == ['notes-few', 'notes-few', True], 60) == ['notes-few', 'notes-few', True]
    assert (kernel.rows == rows).all() and np.abs(rows[0, 17:44] - 0.2).max() < 0.03
    assert (kernel('studio.asked'), kernel('studio.used'), 'error' in kernel('studio.seen')) == (['sound', 'notes-few'], ['notes-few'], False)
    page.page.click('.jingles-draw .live')
    choose('Other …')
    typed = page.page.locator('.jingles-draw input[aria-label^="Model: folder"]')
    typed.fill('no/such/folder'); typed.press('Enter')
    page.page.wait_for_selector('.jingles-draw .said:has-text("no model at no/such/folder")')
    assert kernel('studio.model_name') == 'notes-few'
    typed.fill(str(ROOT/'jingles'/'weights'/'notes')); typed.press('Enter')
    chosen(str(ROOT/'jingles'/'weights'/'notes'))
    choose('notes'); chosen('notes')


def test_reload(page, kernel):
    "A page reload shows the board as it was, and it still draws; after a restart of the kernel the cell finds the drawing again"
    kernel('setattr(studio.board, "cond", __import__("jingles.generate").generate.demo_curves(2, features="notes"))')        # no lane is open
    rows = kernel.rows
    assert saved_with(page, rows), 'the drawing is not in the saved notebook'
    page.page.reload(); page.ready(); page.board()
    page.tool('Erase')
    page.drag('velocity', (0.2, 0.5), (0.3, 0.5))
    erased = soon(lambda: kernel.rows, lambda r: (r != rows).any())              # all of what the page holds comes back to the kernel
    assert (rows >= 0).all() and (erased[0, 31:44] == -1).all()
    assert (erased[0, :29] == rows[0, :29]).all() and (erased[0, 46:] == rows[0, 46:]).all() and (erased[1:] == rows[1:]).all()
    ours = [f for f in page.faults if 'blob:' in f]         # the board's code is loaded from a blob; JupyterLab's own slips are not our concern
    assert not ours, ours


def test_restart(lab, page):
    "The page says that the kernel has gone; what is drawn meanwhile is there when the cell runs again, and so are the takes"
    titles = '[...document.querySelectorAll(".take .how")].map((e) => e.title)'
    takes = page.page.evaluate(titles)
    assert takes
    page.page.evaluate("void jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    page.page.wait_for_selector('.jingles-draw .notice:has-text("Nobody listens")')
    page.tool('Erase')
    page.drag('velocity', (0.6, 0.5), (0.8, 0.5))
    page.page.screenshot(path=page.folder/'restarted.png')
    page.ready()
    page.command('notebook:run-all-cells')
    page.page.wait_for_selector('.jingles-draw .said:has-text("is back; Undo takes it away")')
    kernel = Kernel(*lab)
    assert (soon(lambda: kernel.rows, lambda r: (r[0, 92:118] == -1).all())[0, 92:118] == -1).all()
    assert page.page.locator('.jingles-draw .notice').text_content() == ''
    page.page.wait_for_function(f'(takes) => {titles}.join() === takes.join()', arg=takes)
    kernel.close()


def test_another_day(lab, page):
    "Without its kernel the board is seen as it was saved in the notebook; with a new one the same cell brings the drawing back from the file that it is kept in, and what was drawn without one"
    assert f'JUPYTER_CONFIG_PATH="{LABCONFIG}' in subprocess.run(['make', '--dry-run', 'lab'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    kernel = Kernel(*lab)
    kernel('setattr(studio.board, "cond", __import__("jingles.generate").generate.demo_curves(2, "violin", features="notes"))')      # not what the cell would draw by itself
    rows = kernel.rows
    assert (rows != to_rows(demo_curves(2), 'notes')).any() and saved_with(page, rows)
    seen = page.settled()
    assert saved_with(page, rows)                                      # once more: what is seen now
    page.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    assert soon(lambda: json.loads(answers(f'{lab[1]}/api/sessions')), lambda sessions: not sessions) == []
    page.page.reload(); page.ready(); page.board()                     # from the notebook alone: the new kernel knows nothing
    assert soon(page.picture, lambda picture: picture == seen, 60) == seen
    page.tool('Erase')
    page.drag('velocity', (0.2, 0.5), (0.3, 0.5))                      # nobody hears it
    rows[0, 30:45] = -1
    kernel.close()
    kernel = Kernel(*lab)                                              # with ears for the new one: what it says before they are open is lost
    assert not kernel('"studio" in globals()')
    page.command('notebook:run-all-cells')
    assert soon(lambda: kernel('"studio" in globals()'), bool, 60)
    there = soon(lambda: kernel.rows, lambda r: (r[0, 31:44] == -1).all())
    assert (np.delete(there, range(29, 46), 1) == np.delete(rows, range(29, 46), 1)).all() and (there[0, 31:44] == -1).all()
    kernel.close()


def test_app(lab, browser):
    "The studio as a page of its own"
    folder, port = lab[0]/'app'/'explore', free_port()
    folder.mkdir(parents=True)
    shutil.copy(ROOT/'nbs'/'explore'/'app.ipynb', folder)
    command = [sys.executable, '-m', 'voila', folder/'app.ipynb', '--no-browser', f'--port={port}', '--Voila.ip=127.0.0.1']
    with open(folder/'app.log', 'w') as log: app = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | dict(PYTHONPATH=str(ROOT)))
    try:
        answers(f'http://127.0.0.1:{port}/no/such/page')
        page = browser.new_page()
        page.set_default_timeout(240_000)        # a busy machine takes its time to start a kernel
        page.goto(f'http://127.0.0.1:{port}/')
        page.wait_for_selector('.jingles-draw .field > canvas[data-place]')
        page.wait_for_selector(':text("up to 8 sounds of up to 8 s")')
        page.click('.jingles-generate')
        page.wait_for_selector('.jingles-draw[data-status=done][data-sounds]')
        page.wait_for_selector('.take')
        page.click('.jingles-draw .live')                       # nothing is new yet
        page.wait_for_selector('.jingles-draw[data-status=refined]')
        board = Board()
        board.page = page
        board.drag('velocity', (0.7, 0.2), (0.95, 0.2))
        page.wait_for_selector('.jingles-draw[data-playing=true]')
        page.wait_for_selector('.jingles-draw[data-status=refined]')
        page.screenshot(path=folder/'app.png', full_page=True)
        page.close()
    finally: stop(app)
