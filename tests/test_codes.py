"The codecs' integer codes: the shipped ones, the library that learns them, other processes, and the notebook that makes it all"
import json, os, shutil, subprocess, time

import numpy as np
import pytest
import torch
import forked
from book import ROOT
from jingles.core import fingerprint, load_tensors
from jingles.formats.codec import WEIGHTS, Codec, CodecCodes, codebook_use, learn_codebooks, load_codec, load_codes, sum_codewords, nearest_code, residual_quantise, save_codec, save_codes
from jingles.formats.spectral import load_spectral_codes
from jingles.trainer.processes import lock_run


@pytest.fixture(scope='module')
def codes(): return load_codes()


@pytest.fixture(scope='module')
def melody():
    "Four clips `(4, n)` of 1.5 s: notes of seven partials with an attack and a decay, levels 24 dB apart"
    t = torch.arange(int(1.5*24_000))/24_000
    def note(f, start):
        s = (t - start).clamp_min(0)
        return sum(torch.sin(2*np.pi*f*k*s + k)/k for k in range(1, 8))*torch.exp(-4*s)*(s > 0)
    return torch.stack([0.2*2**-i*(note(196*1.12**i, 0) + note(247*1.12**i, 0.5) + note(294*1.12**i, 1.0)) for i in range(4)])


def error(codes, x, q): return (codes.latents(codes.quantise(x)[:, :q]) - x).mul(codes.weight[:, None]).square().mean().item()


def test_shipped_codes_are_what_the_specification_says(codes):
    assert (codes.spec.channels, codes.spec.rate, codes.spec.classes, codes.frames(8)) == (16, 75, 1024, 600)
    x = codes.encode(torch.randn(2, 8*24_000)/9)
    assert x.shape == codes.spec.shape(600, batch=2) and x.dtype == torch.int64 and 0 <= x.min() and x.max() < 1024
    assert codes.decode(x).shape == (2, 8*24_000)


def test_shipped_files_are_small_and_numbers():
    state = load_tensors(WEIGHTS/'codec'/'quantizer.safetensors')
    assert state['books'].dtype == torch.float16 and (WEIGHTS/'codec'/'quantizer.safetensors').stat().st_size < 2_200_000
    assert all(v.isfinite().all() for v in state.values()) and (state['weight'] > 0).all()
    assert abs(state['weight'].square().mean().item() - 1) < 1e-4       # float32


def test_no_two_entries_are_the_same():
    "A doubled entry would be dead: of two equal ones only the first is ever chosen"
    for book in load_tensors(WEIGHTS/'codec'/'quantizer.safetensors')['books']: assert len(book.unique(dim=0)) == 1024


def test_error_falls_with_each_codebook(codes, melody):
    "On sounds it never heard each of the 16 codebooks still takes something away"
    x = codes.codec.encode(melody)
    errors = [error(codes, x, q) for q in range(1, 17)]
    assert all(b < a for a, b in zip(errors, errors[1:])), errors


def test_melodies_use_the_codebooks(codes):
    "On three minutes of invented melodies (14 400 frames for 1024 entries; the training heard POP909's) most entries occur, and more codebooks sound better"
    from jingles.evaluation.adherence import si_sdr
    from jingles.evaluation.tables import render_clips
    sounds = torch.stack([torch.from_numpy(c.sound) for c in render_clips(None, 24, seconds=8)])
    x = codes.encode(sounds)
    share, perplexity = codebook_use(x, 1024)
    assert (share > 0.8).all() and (perplexity > 0.3).all(), (share, perplexity)
    def quality(decode, x): return np.mean([si_sdr(s.numpy(), d.numpy()) for s, d in zip(sounds[:6], decode(x[:6]))])
    one, four, all_of_them = (quality(codes.decode, x[:, :q]) for q in (1, 4, 16))
    best = quality(codes.codec.decode, codes.codec.encode(sounds[:6]))
    assert one + 4 < four < all_of_them - 2 and best - 2 < all_of_them < best, (one, four, all_of_them, best)     # 1 dB is what is lost on POP909


def test_fewer_codebooks_are_the_first_ones(codes, melody):
    all_of_them = codes.encode(melody)
    for q in (1, 2, 4, 8):
        assert torch.equal(codes.first(q).encode(melody), all_of_them[:, :q])
        assert torch.equal(codes.first(q).decode(all_of_them[:, :q]), codes.decode(all_of_them[:, :q]))


def test_identical_frames_have_identical_codes(codes):
    x = torch.randn(1, 64, 1).expand(1, 64, 300)
    assert (codes.quantise(x) == codes.quantise(x)[..., :1]).all()
    quiet = codes.encode(torch.zeros(1, 24_000))[..., 10:-10]           # ends differ: the codec sees beyond them
    assert (quiet == quiet[..., :1]).all()


def test_batch_is_single(codes, melody):
    "Matrix products of other sizes round differently (1e-6), which may turn a choice between two all but equally near entries, no more"
    batch = codes.encode(melody)
    single = torch.cat([codes.encode(s[None]) for s in melody])
    assert (batch == single).double().mean() > 0.995
    assert (codes.decode(batch) - codes.decode(single)).abs().max() < 0.02


@pytest.mark.parametrize('n', [1, 319, 320, 321, 24_001])
def test_any_length(codes, n):
    sound = 0.1*torch.randn(2, n)
    x = codes.encode(sound)
    assert x.shape == (2, 16, -(-n//320)) and codes.decode(x, n).shape == (2, n)


@pytest.mark.parametrize('bad, says', [
    (torch.rand(1, 16, 5), 'codes of type torch.float32; expected integers 0..1023'),
    (torch.zeros(1, 16, 5, dtype=torch.bool), 'codes of type torch.bool'),
    (torch.full((1, 16, 5), 1024), 'codes from 1024 to 1024; expected 0..1023'),
    (torch.full((1, 16, 5), -1), 'codes from -1 to -1; expected 0..1023'),
    (torch.zeros(1, 17, 5, dtype=torch.long), 'expected (batch, 1 to 16, frames)'),
    (torch.zeros(1, 0, 5, dtype=torch.long), 'expected (batch, 1 to 16, frames)'),
    (torch.zeros(16, 5, dtype=torch.long), 'expected (batch, 1 to 16, frames)')])
def test_what_is_no_code_is_refused_in_one_line(codes, bad, says):
    with pytest.raises(ValueError) as e: codes.decode(bad)
    assert says in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_kind_of_integer_will_do(codes, dtype):
    x = torch.randint(200, (1, 16, 9))
    assert torch.equal(codes.decode(x.to(dtype)), codes.decode(x))


def test_another_process_finds_the_same_codes(codes, melody, python):
    "The codes of a clip do not depend on what was encoded before, nor on the process"
    done = python('''
import sys, torch, hashlib
torch.set_num_threads(1)
from jingles.formats.codec import load_codes
x = load_codes().encode(0.1*torch.sin(torch.arange(24000)/20)[None])
print(x.sum().item(), "vector_quantize_pytorch" in sys.modules, "einx" in sys.modules)''')
    total, *loaded = done.stdout.split()
    assert loaded == ['False', 'False'], 'using codes must not load the library that learns them'
    assert abs(int(total) - codes.encode(0.1*torch.sin(torch.arange(24_000)/20)[None]).sum().item()) < 1200     # another number of threads may turn a choice


def test_a_model_can_tell_the_codebooks_apart(codes):
    moved = CodecCodes(codes.codec, codes.books.clone(), codes.weight)
    assert fingerprint(moved) == fingerprint(codes)
    moved.books[3, 5, 7] += 1e-3
    assert len({fingerprint(f) for f in (codes, moved, codes.first(8), codes.codec)}) == 4


def faulty(folder, name, change):
    "A copy of the shipped codec in `folder`, its file `name` changed"
    shutil.copytree(WEIGHTS/'codec', folder, dirs_exist_ok=True)
    change(folder/name)
    return folder


@pytest.mark.parametrize('name, change, says', [
    ('quantizer.safetensors', lambda p: p.unlink(), 'no weights at'),
    ('quantizer.safetensors', lambda p: p.write_bytes(p.read_bytes()[:-100]), 'damaged'),
    ('quantizer.json', lambda p: p.unlink(), 'no codebooks in'),
    ('quantizer.json', lambda p: p.write_text('{"books": 16'), 'not JSON'),
    ('quantizer.json', lambda p: p.write_text(p.read_text().replace('1024', '512')), 'does not fit quantizer.json'),
    ('quantizer.json', lambda p: p.write_text('{}'), 'belong to another codec'),
    ('model.safetensors', lambda p: save_codec(Codec(), p.parent), 'belong to another codec')])
def test_bad_files_are_named_in_one_line(tmp_path, name, change, says):
    with pytest.raises((ValueError, FileNotFoundError)) as e: load_codes(faulty(tmp_path, name, change))
    assert says in str(e.value) and '\n' not in str(e.value)


def test_kept_and_loaded_is_the_same(codes, tmp_path):
    save_codes(codes, tmp_path)
    again = load_codes(tmp_path, codes.codec)
    assert fingerprint(again) == fingerprint(codes), 'numbers that came from half precision go back into it unchanged'


# ---- learning them

@pytest.fixture(scope='module')
def library(): return pytest.importorskip('vector_quantize_pytorch')


def test_codes_are_the_librarys(library):
    "The ten lines that use codebooks choose what vector-quantize-pytorch chooses"
    torch.manual_seed(0)
    x, books = torch.randn(500, 16), torch.randn(4, 64, 16)*torch.tensor([1, .7, .5, .3]).view(4, 1, 1)
    vq = library.ResidualVQ(dim=16, num_quantizers=4, codebook_size=64).eval()
    for layer, book in zip(vq.layers, books): layer._codebook.embed.data.copy_(book[None])
    out, indices, _ = vq(x[None])
    ours = residual_quantise(x, books)
    assert (ours == indices[0]).double().mean() > 0.998                 # the library takes the root of the distance: near ties may differ
    assert torch.allclose(sum_codewords(indices[0], books), out[0], atol=1e-5)


def test_learning_is_reproducible_and_leaves_no_dead_entries(library):
    torch.manual_seed(0)
    x = torch.randn(20_000, 8)*torch.linspace(0.3, 2, 8)
    a, b = (learn_codebooks(x[:16_000], books=3, classes=32, steps=40, batch=1024, seed=3) for _ in range(2))
    assert torch.equal(a, b)
    share, perplexity = codebook_use(residual_quantise(x[16_000:], a).T[None], 32)
    assert (share == 1).all() and (perplexity > 0.6).all()
    left = [(sum_codewords(residual_quantise(x[16_000:], a)[:, :q], a) - x[16_000:]).square().mean() for q in (1, 2, 3)]
    assert left[0] > 1.5*left[1] > 2*left[2]


def test_nearest_is_nearest():
    x, book = torch.randn(9000, 5), torch.randn(77, 5)                  # more than one part of 4096
    assert torch.equal(nearest_code(x, book), torch.cdist(x.double(), book.double()).argmin(1))
    assert nearest_code(x[:0], book).shape == (0,)


# ---- the notebook

SMALL = dict(sounds=6, latents=6, held_out=3, seconds=1., steps=40, save_every=2, batch=4, width=16, depth=1, books=3, classes=16, book_steps=3, book_batch=64, shown=2, workers=1)


def papermill(out, **parameters):
    "The command that runs the notebook through papermill"
    given = sum((['-p', k, str(v)] for k, v in dict(SMALL, out=str(out), **parameters).items()), [])
    return forked.command('-m', 'papermill', ROOT/'nbs'/'runs'/'train_codec.ipynb', out/'run.ipynb', '--cwd', ROOT, *given)


def unlocked(out):
    "Whether no process trains into the folder `out`"
    try: lock_run(out).release()
    except ValueError: return False
    return True


@pytest.mark.parametrize('format, load, seconds', [('codec', load_codes, 1.), ('spectral', load_spectral_codes, 2.)])
def test_train_codec_notebook_stops_and_goes_on(library, forked_kernels, tmp_path, format, load, seconds):
    pytest.importorskip('papermill')
    env = {k: v for k, v in os.environ.items() if k != 'MPLBACKEND'}        # pictures belong into the notebook here
    env['PYTHONPATH'] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
    out = tmp_path/'codec'; out.mkdir()
    first = subprocess.Popen(papermill(out, format=format, seconds=seconds), cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.time() + 300
    while not (out/'last.safetensors').exists() and first.poll() is None and time.time() < deadline: time.sleep(0.2)
    assert (out/'last.safetensors').exists(), first.communicate()[0][-2000:]
    forked.kill(first); first.communicate()
    while not unlocked(out): time.sleep(0.05)                   # the kernel ends when it sees that it is alone
    rendered = (out/'audio'/'manifest.json').stat().st_mtime
    again = subprocess.run(papermill(out, format=format, seconds=seconds), cwd=ROOT, env=env, capture_output=True, text=True, timeout=500)
    assert again.returncode == 0, again.stderr[-3000:]
    assert (out/'audio'/'manifest.json').stat().st_mtime == rendered, 'the sounds were not rendered again'
    codes = load(out)
    assert (codes.spec.channels, codes.spec.classes) == (3, 16)
    kept = json.loads((out/'run.ipynb').read_text())
    said = ''.join(''.join(o.get('text', '')) for c in kept['cells'] for o in c.get('outputs', []))
    assert 'continuous: SI-SDR' in said and '225 held-out frames' in said and 'diffusability_loss' in said
    pictures = [o for c in kept['cells'] for o in c.get('outputs', []) if 'image/png' in o.get('data', {})]
    players = [o for c in kept['cells'] for o in c.get('outputs', []) if 'audio' in str(o.get('data', {}).get('text/html', ''))]
    assert len(pictures) == 3 and len(players) == 3
