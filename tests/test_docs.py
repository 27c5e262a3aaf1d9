"The site of the book: every page, every link inside it, its search, its formulas"
import json, re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

import docs
from book import ROOT, chapters


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp('site')
    docs.build(ROOT, out)
    return out


class Page(HTMLParser):
    "The anchors of a page, what it links to, and what its browser fetches"
    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.fetched = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids |= {v for k, v in given.items() if k in ('id', 'name') and v}
        if tag == 'a' and given.get('href'): self.links.append(given['href'])
        if tag == 'link' and given.get('rel') in ('stylesheet', 'icon'): self.fetched.append(given['href'])
        if given.get('src'): self.fetched.append(given['src'])


@pytest.fixture(scope='module')
def pages(site): return {p: Page(p.read_text(encoding='utf8')) for p in sorted(site.rglob('*.html')) if p.name != '404.html'}


def test_every_chapter_has_a_page(site, pages):
    missing = [c.path.stem for c in chapters() if site/'nbs'/f'{c.path.stem}.html' not in pages]
    assert len(chapters()) > 40 and not missing
    first = (site/'index.html').read_text()
    assert all(f'nbs/{c.path.stem}.html' in first for c in chapters()), 'the table of contents names every chapter'


def test_no_link_is_broken(site, pages):
    "Links and sources inside the site lead to a file that is there and, where they name one, to an anchor in it"
    dead, checked = [], 0
    for path, page in pages.items():
        for link in page.links + page.fetched:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link.startswith('//'): continue
            checked += 1
            target = path if not parts.path else (path.parent/unquote(parts.path)).resolve()
            if target.is_dir(): target = target/'index.html'
            there = target.is_file() and site in target.parents
            anchor = unquote(parts.fragment)
            if not there or (anchor and not anchor.startswith('__') and target in pages and anchor not in pages[target].ids): dead.append(f'{path.relative_to(site)}: {link}')
    assert checked > 1000
    assert not dead, '\n'.join(dead)


def test_nothing_is_fetched_from_elsewhere(pages):
    outside = {(path.name, link) for path, page in pages.items() for link in page.fetched if re.match(r'(?:https?:)?//', link)}
    assert not outside


def test_pictures_sounds_and_formulas_are_there(site):
    def text(stem): return (site/'nbs'/f'{stem}.html').read_text()
    assert '<math' in text('12_paradigms.ddpm') and '<audio' in text('40_audio') and '<img' in text('13_paradigms.edm') and '<table>' in text('73_evaluation.tables')
    for c in chapters():
        shown = re.sub(r'<(script|pre|code|math)\b.*?</\1>', '', text(c.path.stem), flags=re.S)
        assert '#|' not in shown and '$$' not in shown and r'\frac' not in shown, c.path.name


def test_search_finds_words_of_the_book(site, pages):
    "The index holds every page, and its places are in the site"
    index = json.loads(re.search(r'\{.*\}', (site/'search'/'search_index.js').read_text(), re.S)[0])['docs']
    places = {d['location'] for d in index}
    assert {p.split('#')[0] for p in places} - {''} <= {p.relative_to(site).as_posix() for p in pages}
    assert any('churn' in d['text'] and d['location'].startswith('nbs/11_') for d in index)


NOTE_READINESS = """
const plain = EventTarget.prototype.dispatchEvent;
EventTarget.prototype.dispatchEvent = function (event) {        // Material's search worker says so (type 1) when it has loaded its index
  const result = plain.call(this, event);
  if (event instanceof MessageEvent && event.data?.type === 1) window.searchIsReady = true;
  return result;
};"""


@pytest.mark.slow
def test_search_in_a_browser_without_a_server(site):
    "Chromium, on the files as they lie: a word is typed, the chapter about it is clicked, and its page is there"
    import shutil
    from playwright.sync_api import sync_playwright
    chromium = shutil.which('chromium')
    if not chromium: pytest.skip('no Chromium on this machine: apt-get install chromium')
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=['--no-sandbox'])
        page = browser.new_page()
        page.set_default_timeout(120_000)                       # a busy machine
        errors = []
        page.on('pageerror', lambda e: errors.append(str(e)))
        page.add_init_script(NOTE_READINESS)
        page.goto((site/'index.html').as_uri())
        page.locator('.md-search__input').focus()               # only then the index is loaded
        page.wait_for_function('window.searchIsReady')
        page.locator('.md-search__input').press_sequentially('multinomial')
        page.locator('.md-search-result__link[href*="14_paradigms.discdpm"]').first.click()
        page.wait_for_url('**/14_paradigms.discdpm.html*')
        assert not errors, errors
        browser.close()


def test_a_link_that_leads_nowhere_is_refused(tmp_path):
    (tmp_path/'nbs').mkdir()
    (tmp_path/'README.md').write_text('# A\n\n[b](nbs/b.md)\n')
    with pytest.raises(ValueError, match='nbs/b.md'): docs.build(tmp_path, tmp_path/'out')


@pytest.mark.parametrize('text, made', [('`$a$` costs 3$ and 4$', '`$a$` costs 3$ and 4$'), ('```\n$x$\n```', '```\n$x$\n```')])
def test_code_and_money_are_no_formulas(text, made): assert docs.outside_code(text, docs.mathml) == made


def test_formulas():
    assert docs.mathml('at $x_t$ and').startswith('at <math') and '_' not in docs.mathml('$x_t$')
    assert 'display="block"' in docs.mathml('$$\na*b\n$$') and '*' not in docs.mathml('$$a*b$$')


def test_lists_and_tables_get_their_empty_line():
    assert docs.spaced('text\n- a\n- b') == 'text\n\n- a\n- b'
    assert docs.spaced('text\n| a |\n| - |\n| 1 |') == 'text\n\n| a |\n| - |\n| 1 |'
