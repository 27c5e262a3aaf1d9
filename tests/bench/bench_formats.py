"""Every format: size, speed, peak memory and round-trip quality for clips of 8 s; EnCodec's quality only with its weights at $JINGLES_ENCODEC

JINGLES_MIDI is a folder of MIDI files whose held-out melodies are rendered; without it, melodies are invented."""
import os, tempfile

CLIPS, SECONDS, BOOKS = 12, 8, (2, 4, 8, 16)


def run():
    import torch
    from jingles.data.collection import load_melodies
    from jingles.evaluation.formats import format_costs, costs_markdown, kilobits_per_second, format_configs
    from jingles.evaluation.tables import render_clips
    from jingles.formats.encodec import random_encodec, save_encodec
    from jingles.system import configure, make_format
    given, figures = os.environ.get('JINGLES_ENCODEC'), {}
    with tempfile.TemporaryDirectory() as folder:
        weights = str(given or save_encodec(random_encodec(), folder))
        configs = format_configs(BOOKS, {'encodec': weights, 'encodec-codes': weights})
        configs['encodec-codes, 32 codebooks'] = configure(configs['encodec-codes, 16 codebooks'], books=32)
        clips = render_clips(load_melodies(os.environ.get('JINGLES_MIDI'))[0], CLIPS, seconds=SECONDS)
        found = format_costs(configs, clips, () if given else ('encodec', 'encodec-codes'))
        rates = {label: kilobits_per_second(make_format(cfg).spec) for label, cfg in configs.items()}
    print(costs_markdown(found))
    for label, c in found.items():
        figures |= {f'{label}: tensor': 'x'.join(map(str, c.shape)), f'{label}: numbers/s': c.numbers, f'{label}: bytes': c.bytes, f'{label}: peak memory [MB]': c.memory/1e6,
                    f'{label}: encode [x real time]': c.encode, f'{label}: decode [x real time]': c.decode}
        if label in rates: figures[f'{label}: kbit/s'] = rates[label]
        if c.mel is not None: figures |= {f'{label}: mel distance [dB]': c.mel, f'{label}: SI-SDR [dB]': c.sdr}
    return figures | {'threads': torch.get_num_threads(), 'clips': CLIPS}
