"The server: `jingles serve` as a process, its page in a real browser, and many clients at once"
import io, json, os, re, subprocess, sys, urllib.error, urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile as sf

import forked
from book import ROOT
from jingles.audio import load
from lab import CHROMIUM, Board, chromium, free_port, soon, stop

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason='no Chromium; as root: apt-get install chromium')
CURVES = dict(velocity=[0.8]*38, chroma=[4/11]*38)


class Served:
    "`jingles serve`, as somebody starts it"
    def __init__(self, folder, *options):
        self.port = free_port()
        command = forked.command('-c', forked.CLI, 'serve', '--port', self.port, *options)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=open(folder/'serve.log', 'w'), text=True, env=os.environ | dict(PYTHONPATH=str(ROOT)))
        self.page = self.process.stdout.readline().strip()          # it is said before anybody can connect
        self.url, _, self.token = self.page.partition('/?token=')
        assert self.url == f'http://127.0.0.1:{self.port}' and len(self.token) > 15, (self.page, (folder/'serve.log').read_text())
        assert soon(lambda: self.ask('/health')[0], lambda status: status == 200, 60) == 200

    def ask(self, path, body=None, **headers):
        "Status and body of an answer; 0 while nobody listens"
        headers = {'Authorization': f'Bearer {self.token}'} | {k.replace('_', '-'): v for k, v in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=120) as answer: return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            with e: return e.code, e.read()
        except OSError: return 0, b''


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp('serve')
    served = Served(folder)
    served.folder = folder
    yield served
    stop(served.process)


@pytest.fixture(scope='module')
def browser():
    with chromium() as browser: yield browser


class ServedPage(Board):
    "The studio's page of the server"
    def __init__(self, browser, served, **options):
        self.page, self.faults = browser.new_page(viewport=dict(width=1280, height=1000), **options), []
        self.page.set_default_timeout(90_000)
        self.page.on('pageerror', lambda e: self.faults.append(f'{e} {e.stack}'))
        self.page.goto(served.page)
        self.board()


@needs_chromium
def test_page(served, browser):
    "Draw, generate, play, keep, download; what is generated is what was drawn, and a picture as in the notebook"
    p = ServedPage(browser, served)
    p.page.fill('[data-option=seed]', '5'); p.page.press('[data-option=seed]', 'Tab')
    p.page.select_option('[data-option=quality]', label='Draft')
    p.page.wait_for_function("document.querySelector('[data-option=steps]').value === '6'")       # the server said so
    p.tool('Straight line')
    p.drag('velocity', (0.1, 0.9), (0.9, 0.3))
    p.generate()
    with p.page.expect_download() as download: p.page.click('.take button[aria-label=Download]')
    download.value.save_as(served.folder/'take.wav')
    assert download.value.suggested_filename == 'jingle-5.wav' and len(load(served.folder/'take.wav')) == 96000
    with p.page.expect_download() as download: p.choose('Save the curves', 'json')
    drawn = np.array(json.loads(download.value.path().read_text())['velocity'], np.float32).reshape(-1)
    assert np.abs(drawn[30:270] - np.linspace(0.9, 0.3, 240)).max() < 0.05
    p.tool('Play'); p.page.wait_for_selector('.jingles-draw[data-playing=true]'); p.tool('Play')
    p.page.screenshot(path=served.folder/'page.png', full_page=True)
    assert not p.faults, p.faults
    p.page.close()


@needs_chromium
def test_live_on_the_page(served, browser):
    "Live works as in a notebook: by itself, then after a stroke, preview and full quality"
    p = ServedPage(browser, served)
    p.page.click('.jingles-draw .live')
    p.status('refined'); p.page.wait_for_selector('.jingles-draw[data-playing=true]')
    sounds = p.state('sounds')
    p.drag('velocity', (0.7, 0.2), (0.9, 0.2))
    p.page.wait_for_function(f"Number(document.querySelector('.jingles-draw').dataset.sounds) >= {sounds} + 2")
    p.status('refined')
    assert p.page.locator('.take').count() == 1 and not p.faults
    p.page.close()


@needs_chromium
def test_pages_are_apart(served, browser):
    "Two pages have boards of their own"
    a, b = (ServedPage(browser, served) for _ in range(2))
    before = b.picture()
    a.choose('Presets', 'velocity: swell')
    a.page.fill('[data-option=seed]', '77'); a.page.press('[data-option=seed]', 'Tab')
    a.generate(); b.generate()
    assert 'seed 77' in a.page.text_content('.take .how') and 'seed 0' in b.page.text_content('.take .how')
    assert a.picture() != b.picture() != before
    for p in (a, b): p.page.close()


def test_many_clients(served):
    "Sixty requests from thirty clients, some of which are wrong and some cancelled: nobody's is lost or another's"
    def ask(k):
        seed = k % 10
        if k % 7 == 3: return served.ask('/api/jobs', dict(curves=dict(velocity=[7.])), Accept='audio/wav')
        while (answer := served.ask('/api/jobs', dict(curves=CURVES, seed=seed, steps=1), Accept='audio/wav'))[0] == 429: pass       # the line is full
        return answer
    with ThreadPoolExecutor(30) as pool: answers = [*pool.map(ask, range(60))]
    assert all((status == 400) == (k % 7 == 3) for k, (status, _) in enumerate(answers)) and {status for status, _ in answers} == {200, 400}
    sounds = {}
    for k, (status, wav) in enumerate(answers):
        if status == 200: sounds.setdefault(k % 10, set()).add(wav)
    assert len(sounds) == 10 and all(len(same) == 1 for same in sounds.values()) and len(set.union(*sounds.values())) == 10
    for seed, (wav,) in sounds.items():
        sound, rate = sf.read(io.BytesIO(wav))
        assert rate == 24000 and len(sound) == round(38/75*24000)


def test_progress_and_cancelling(served):
    "Progress comes as events, in order, up to the end; a job that is cancelled says so and has no sound"
    _, told = served.ask('/api/jobs', dict(curves=CURVES, steps=8))
    job = json.loads(told)['id']
    events = [json.loads(line[6:]) for line in served.ask(f'/api/jobs/{job}/events')[1].decode().splitlines() if line.startswith('data: ')]
    shares = [e['progress'] for e in events]
    assert shares == sorted(shares) and events[-1]['state'] == 'done' and shares[-1] == 1
    _, told = served.ask('/api/jobs', dict(curves=CURVES, steps=100))
    job = json.loads(told)['id']
    request = urllib.request.Request(f'{served.url}/api/jobs/{job}', method='DELETE', headers={'Authorization': f'Bearer {served.token}'})
    with urllib.request.urlopen(request) as answer: assert json.loads(answer.read())['state'] == 'cancelled'
    assert served.ask(f'/api/jobs/{job}/sound')[0] == 422


def test_who_may(served):
    "Without the token, or under another name (DNS rebinding), nothing is told; the token is not in the page's text"
    for path in ('/', '/api/jobs/x/sound', '/page/x/events'):
        assert served.ask(path, Authorization='Bearer no')[0] == 401 and served.ask(path, Host='evil.example')[0] == 403
    status, html = served.ask('/')
    assert status == 200 and served.token.encode() not in html


@needs_chromium
def test_the_server_ends(tmp_path, browser):
    "The page says that the server has gone, and what was drawn is there on the next page"
    served = Served(tmp_path)
    p = ServedPage(browser, served)
    stop(served.process)
    p.page.wait_for_selector('.jingles-draw .notice:has-text("The server has ended")')
    p.page.close()


def test_a_token_for_others(tmp_path):
    "Nobody opens a server to a network without a token by mistake"
    code = 'import sys; sys.argv = ["jingles", "serve", "--token", "", "--host", "0.0.0.0"]; from jingles.cli import main; main()'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=os.environ | dict(PYTHONPATH=str(ROOT)))
    assert done.returncode == 1 and re.fullmatch(r'jingles: an empty --token is for this machine only; leave --host out\n', done.stderr), done.stderr
