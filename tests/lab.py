"A JupyterLab and a real browser in front of it: Chromium, steered by Playwright. Shared by test_browser.py and bench_browser.py"
import json, os, shutil, signal, socket, subprocess, sys, time, urllib.error, urllib.request
from contextlib import contextmanager

import nbformat
import nbformat.v4 as nb4
import numpy as np
from jupyter_client import BlockingKernelClient

from book import ROOT

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
LABCONFIG = ROOT/'nbs'/'explore'/'.jupyter'           # JupyterLab's defaults, as `make lab` sets them
READY = "window.jupyterapp?.shell.currentWidget?.context?.isReady && jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.connectionStatus === 'connected'"
SETTINGS = {'@jupyterlab/apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False)}


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def answers(url, tries=240):
    "What is said at `url`, as soon as somebody says something"
    for _ in range(tries):
        try: return urllib.request.urlopen(url, timeout=2).read()
        except urllib.error.HTTPError as e: return e.read()
        except OSError: time.sleep(0.25)
    raise TimeoutError(f'{url} does not answer')


def stop(server):
    server.send_signal(signal.SIGTERM)
    try: server.wait(20)
    except subprocess.TimeoutExpired: server.kill()


@contextmanager
def jupyterlab(folder, cell:str):
    "A JupyterLab as of `make lab`, with a notebook of one cell; everything that it keeps is below `folder`. Gives its address"
    for name, value in SETTINGS.items():
        path = folder/'.jupyter'/'settings'/f'{name}.jupyterlab-settings'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    kernel = dict(kernelspec=dict(display_name='Python 3', language='python', name='python3'))
    nbformat.write(nb4.new_notebook(cells=[nb4.new_code_cell(cell.strip())], metadata=kernel), folder/'draw.ipynb')
    places = {f'JUPYTER_{k}_DIR': str(folder/'.jupyter'/k.lower()) for k in ('CONFIG', 'DATA', 'RUNTIME')}
    places |= {f'JUPYTERLAB_{k}_DIR': str(folder/'.jupyter'/k.lower()) for k in ('SETTINGS', 'WORKSPACES')}
    env = os.environ | places | dict(PYTHONPATH=str(ROOT), IPYTHONDIR=str(folder/'.jupyter'/'ipython'), JUPYTER_CONFIG_PATH=str(LABCONFIG))
    port = free_port()
    options = ['--no-browser', '--allow-root', '--ip=127.0.0.1', f'--port={port}', '--ServerApp.port_retries=0', '--IdentityProvider.token=',
               '--LabApp.expose_app_in_browser=True', f'--ServerApp.root_dir={folder}']
    with open(folder/'lab.log', 'w') as log:
        server = subprocess.Popen([sys.executable, '-m', 'jupyterlab', *options], env=env, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        try: answers(f'http://127.0.0.1:{port}/api')
        except TimeoutError: raise TimeoutError((folder/'lab.log').read_text()[-3000:]) from None
        yield f'http://127.0.0.1:{port}'
    finally: stop(server)


@contextmanager
def chromium(*args):
    "Debian's Chromium, steered by Playwright"
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox', '--mute-audio', *args])
        yield browser
        browser.close()


class Kernel:
    "The kernel behind the page, asked from outside of it"
    def __init__(self, folder, url):
        session, = json.loads(answers(f'{url}/api/sessions'))
        self.client = BlockingKernelClient(connection_file=str(folder/'.jupyter'/'runtime'/f"kernel-{session['kernel']['id']}.json"))
        self.client.load_connection_file(); self.client.start_channels()
        self.client.wait_for_ready(60)

    def __call__(self, expression):
        "The value of a Python expression that JSON can carry"
        reply = self.client.execute_interactive('', user_expressions=dict(x=f'__import__("json").dumps({expression})'), store_history=False, timeout=60)
        x = reply['content']['user_expressions']['x']
        assert x['status'] == 'ok', x
        return json.loads(eval(x['data']['text/plain']))

    @property
    def rows(self): return np.array(self('studio.board.rows.tolist()'), np.float32)
    def close(self): self.client.stop_channels()


class Board:
    "A page with a board on it, `page`: what a person does there"
    def board(self):
        "Wait until the board is painted"
        self.page.wait_for_selector('.jingles-draw .field > canvas[data-place]')
        self.page.locator('.jingles-draw .field > canvas').scroll_into_view_if_needed()

    def point(self, label, share, value):
        "Where on the page `share` of the time and `value` of a lane are"
        canvas = self.page.locator('.jingles-draw .field > canvas')
        place, box = json.loads(canvas.get_attribute('data-place')), canvas.bounding_box()
        top, height = place['lanes'][label]
        y = top + height*(1 - (11*value + 0.5)/12) if label == 'chroma' else top + 3 + (height - 6)*(1 - value)
        scale = box['width']/canvas.evaluate('canvas => canvas.clientWidth')
        return box['x'] + scale*(place['left'] + share*(place['right'] - place['left'])), box['y'] + scale*y

    def drag(self, label, start, stop, steps=25):
        "Drag with the mouse from one (share of time, value) to another"
        mouse = self.page.mouse
        mouse.move(*self.point(label, *start)); mouse.down()
        mouse.move(*self.point(label, *stop), steps=steps); mouse.up()

    def touch(self, label, start, stop, steps=12):
        "The same with a finger"
        cdp = self.page.context.new_cdp_session(self.page)
        for k in range(steps + 1):
            x, y = self.point(label, *(a + (b - a)*k/steps for a, b in zip(start, stop)))
            cdp.send('Input.dispatchTouchEvent', dict(type='touchMove' if k else 'touchStart', touchPoints=[dict(x=x, y=y)]))
        cdp.send('Input.dispatchTouchEvent', dict(type='touchEnd', touchPoints=[]))

    def picture(self): return self.page.locator('.jingles-draw .field > canvas').evaluate('canvas => canvas.toDataURL()')

    def settled(self):
        "The picture, once it is the same twice, half a second apart"
        before, now = None, self.picture()
        for _ in range(60):
            if now == before: break
            self.page.wait_for_timeout(500)
            before, now = now, self.picture()
        return now

    def choose(self, menu, item):
        "An item of one of the board's menus, by its name for those who cannot see it"
        self.page.click(f'.jingles-draw button[aria-label="{menu}"]')
        self.page.click(f'.jingles-draw [role=menuitem][aria-label="{item}"]')

    def tool(self, name): self.page.click(f'.jingles-draw button[aria-label^="{name}"]')
    def status(self, code): self.page.wait_for_selector(f'.jingles-draw[data-status={code}]')
    def state(self, name): return int(self.page.locator('.jingles-draw').get_attribute(f'data-{name}') or 0)

    def generate(self):
        "Press Generate, and wait until the takes are there and measured"
        newest = "document.querySelector('.take')?.dataset.take"
        before = self.page.evaluate(f'{newest} ?? null')
        self.page.click('.jingles-generate')
        self.page.wait_for_function(f"({newest} ?? null) !== {json.dumps(before)}")
        self.page.wait_for_selector('.jingles-draw[data-busy=false][data-status=done]')


class Page(Board):
    "The notebook in the browser"
    def __init__(self, browser, folder, url, before=''):
        self.page, self.folder, self.url, self.faults = browser.new_page(viewport=dict(width=1200, height=1300), has_touch=True), folder, url, []
        self.page.set_default_timeout(90_000)
        if before: self.page.add_init_script(before)
        self.page.on('pageerror', lambda e: self.faults.append(f'{e} {e.stack}'))
        self.page.goto(f'{url}/doc/tree/draw.ipynb')
        self.ready()

    def ready(self): self.page.wait_for_function(READY)
    def command(self, name): self.page.evaluate(f"void jupyterapp.commands.execute('{name}')")


def soon(get, ok, seconds=10):
    "The first value of `get()` that is `ok`; the last one when that takes too long"
    for _ in range(int(seconds/0.1)):
        value = get()
        if ok(value): return value
        time.sleep(0.1)
    return value
