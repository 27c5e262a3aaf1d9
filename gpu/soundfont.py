"""Cut a SoundFont down to a few instruments: python gpu/soundfont.py FONT.sf2 SMALL.sf2 --programs 0,40,56 [--keys 36:96]

What is kept sounds as before, sample for sample: tests/test_gpu_training.py renders with both. A SoundFont 2 file is a RIFF file of samples and of nine
tables; each table points into the next one (presets -> zones -> instruments -> zones -> samples). The layout is that of the SoundFont 2.04 specification."""
import argparse, io, struct, zipfile
from pathlib import Path

import numpy as np

# one record of each table, sections 7.2 to 7.10 of the specification
TABLES = dict(
    phdr=np.dtype([('name', 'S20'), ('program', '<u2'), ('bank', '<u2'), ('bag', '<u2'), ('rest', 'V12')]),
    pbag=np.dtype([('gen', '<u2'), ('mod', '<u2')]), pmod=np.dtype('V10'), pgen=np.dtype([('oper', '<u2'), ('amount', '<u2')]),
    inst=np.dtype([('name', 'S20'), ('bag', '<u2')]),
    ibag=np.dtype([('gen', '<u2'), ('mod', '<u2')]), imod=np.dtype('V10'), igen=np.dtype([('oper', '<u2'), ('amount', '<u2')]),
    shdr=np.dtype([('name', 'S20'), ('start', '<u4'), ('end', '<u4'), ('loop_start', '<u4'), ('loop_end', '<u4'), ('rate', '<u4'), ('pitch', 'V2'),
                   ('link', '<u2'), ('type', '<u2')]))
INSTRUMENT, KEY_RANGE, SAMPLE = 41, 43, 53     # generators: what a zone plays, and for which keys
GUARD = 46                                     # zeros that must follow each sample


def chunks(data, start, end):
    "`{name: (first byte, past the last)}` of the RIFF chunks in `data[start:end]`; of a list, `{name: chunks}` by the list's type"
    found = {}
    while start < end:
        name, size = data[start:start + 4].decode('latin1'), struct.unpack('<I', data[start + 4:start + 8])[0]
        if name == 'LIST': found[data[start + 8:start + 12].decode('latin1')] = chunks(data, start + 12, start + 8 + size)
        else: found[name] = start + 8, start + 8 + size
        start += 8 + size + size % 2
    return found


def read(path):
    "(bytes of the INFO chunks, samples int16, tables) of a SoundFont; ValueError"
    data = np.memmap(path, np.uint8, 'r')
    if bytes(data[:4]) != b'RIFF' or bytes(data[8:12]) != b'sfbk': raise ValueError(f'{path} is not a SoundFont; give a .sf2 file')
    raw = memoryview(data)
    class Slice:      # bytes of a piece, without reading the whole file
        def __getitem__(self, at): return bytes(raw[at])
    parts = chunks(Slice(), 12, len(data))
    info = [(name, bytes(raw[a:b])) for name, (a, b) in parts['INFO'].items()]
    a, b = parts['sdta']['smpl']
    return info, data[a:b].view('<i2'), {name: np.frombuffer(bytes(raw[slice(*parts['pdta'][name])]), kind) for name, kind in TABLES.items()}


def zones(headers, bags, gens, mods, i):
    "[(generators, modulators)] of the zones of record `i`"
    found = range(headers['bag'][i], headers['bag'][i + 1])
    return [(gens[bags['gen'][z]:bags['gen'][z + 1]], mods[bags['mod'][z]:bags['mod'][z + 1]]) for z in found]


def plays(gens, target, keys):
    "What a zone plays - the amount of its generator `target` - or None for a zone of defaults; False when its keys lie outside of `keys`"
    amounts = dict(zip(gens['oper'].tolist(), gens['amount'].tolist()))
    if target not in amounts: return None
    low, high = amounts.get(KEY_RANGE, 127 << 8) & 255, amounts.get(KEY_RANGE, 127 << 8) >> 8
    return amounts[target] if low <= keys[1] and high >= keys[0] else False


def renumbered(kept, target, numbers):
    "The zones `kept` with what they play under its new number"
    found = []
    for gens, mods in kept:
        gens = gens.copy()
        at = gens['oper'] == target
        gens['amount'][at] = [numbers[n] for n in gens['amount'][at].tolist()]
        found.append((gens, mods))
    return found


def packed(each, kinds):
    "(first zone of each record and past the last, bags, generators, modulators) of lists of zones"
    flat = [zone for record in each for zone in record]
    bags = np.zeros(len(flat) + 1, kinds[0])
    bags['gen'], bags['mod'] = (np.cumsum([0] + [len(zone[j]) for zone in flat]) for j in (0, 1))
    gens, mods = (np.concatenate([zone[j] for zone in flat] + [np.zeros(1, kinds[j + 1])]) for j in (0, 1))
    return np.cumsum([0] + [len(record) for record in each]), bags, gens, mods


def cut(source, target, programs, keys=(0, 127), bank=0):
    "Write the presets `programs` of `bank` of the SoundFont `source`, for notes in `keys`, to `target`; its size in bytes. ValueError"
    info, samples, t = read(source)
    wanted = [i for i in range(len(t['phdr']) - 1) if t['phdr']['bank'][i] == bank and t['phdr']['program'][i] in programs]
    missing = sorted(set(programs) - set(t['phdr']['program'][wanted].tolist()))
    if missing: raise ValueError(f'{source} has no program {missing[0]} in bank {bank}; choose others')

    def selected(headers, bags, gens, mods, records, what):
        "The zones of `records` that play something for these keys, and the numbers of what they play"
        each = [[zone for zone in zones(headers, bags, gens, mods, i) if plays(zone[0], what, keys) is not False] for i in records]
        return each, sorted({n for record in each for zone in record if (n := plays(zone[0], what, keys)) is not None})

    presets, instruments = selected(t['phdr'], t['pbag'], t['pgen'], t['pmod'], wanted, INSTRUMENT)
    parts, used = selected(t['inst'], t['ibag'], t['igen'], t['imod'], instruments, SAMPLE)
    new_instrument, new_sample = ({old: new for new, old in enumerate(kept)} for kept in (instruments, used))

    phdr = np.concatenate([t['phdr'][wanted], t['phdr'][-1:]])
    phdr['bag'], pbag, pgen, pmod = packed([renumbered(z, INSTRUMENT, new_instrument) for z in presets], (TABLES['pbag'], TABLES['pgen'], TABLES['pmod']))
    inst = np.concatenate([t['inst'][instruments], t['inst'][-1:]])
    inst['bag'], ibag, igen, imod = packed([renumbered(z, SAMPLE, new_sample) for z in parts], (TABLES['ibag'], TABLES['igen'], TABLES['imod']))
    shdr, sound, at = np.concatenate([t['shdr'][used], t['shdr'][-1:]]), [], 0
    for row in shdr[:-1]:
        start, end = int(row['start']), int(row['end'])
        sound += [samples[start:end], np.zeros(GUARD, '<i2')]
        for name in ('start', 'end', 'loop_start', 'loop_end'): row[name] = int(row[name]) - start + at
        row['link'] = new_sample.get(int(row['link']), 0)
        at += end - start + GUARD

    def chunk(name, data): return name.encode('latin1') + struct.pack('<I', len(data)) + data + b'\0'*(len(data) % 2)
    def several(name, parts): return chunk('LIST', name.encode() + b''.join(chunk(k, v) for k, v in parts))
    tables = dict(phdr=phdr, pbag=pbag, pmod=pmod, pgen=pgen, inst=inst, ibag=ibag, imod=imod, igen=igen, shdr=shdr)
    body = several('INFO', info) + several('sdta', [('smpl', np.concatenate(sound).tobytes())]) + several('pdta', [(k, v.tobytes()) for k, v in tables.items()])
    Path(target).write_bytes(chunk('RIFF', b'sfbk' + body))
    return Path(target).stat().st_size


def squeeze(source, target):
    "Pack a SoundFont for the way, in about half of its size: its samples as FLAC, which loses nothing, and the rest, in one zip file"
    import soundfile
    data = Path(source).read_bytes()
    a, b = chunks(data, 12, len(data))['sdta']['smpl']
    flac = io.BytesIO()
    soundfile.write(flac, np.frombuffer(data[a:b], '<i2'), 44_100, format='FLAC', subtype='PCM_16')
    with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as z:
        for name, part in (('before', data[:a]), ('samples.flac', flac.getvalue()), ('after', data[b:])): z.writestr(name, part)


def unsqueeze(source, target):
    "The SoundFont that `squeeze` packed, byte for byte"
    import soundfile
    with zipfile.ZipFile(source) as z: before, flac, after = (z.read(name) for name in ('before', 'samples.flac', 'after'))
    samples, _ = soundfile.read(io.BytesIO(flac), dtype='int16')
    Path(target).write_bytes(before + samples.astype('<i2').tobytes() + after)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument('source', type=Path)
    args.add_argument('target', type=Path, help='ends in .sf2, or in .zip: squeezed, for a machine without the internet')
    args.add_argument('--programs', default='0,40,56', help='General MIDI programs, by commas')
    args.add_argument('--keys', default='0:127', help='lowest and highest MIDI note that is played')
    args = args.parse_args()
    if args.source.suffix == '.zip': return unsqueeze(args.source, args.target)
    small = args.target.with_suffix('.sf2')
    size = cut(args.source, small, {int(p) for p in args.programs.split(',')}, tuple(map(int, args.keys.split(':'))))
    if args.target.suffix == '.zip':
        squeeze(small, args.target)
        small.unlink()
        size = args.target.stat().st_size
    print(f'{args.target}: {size/1e6:.1f} MB')


if __name__ == '__main__': main()
