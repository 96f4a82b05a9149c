"""Presets in YAML."""

from robustness.corpus.registry import TRAIN, bad, put


@bad("YAML", TRAIN, "not valid YAML")
def yaml_with_an_open_bracket(folder):
    return put(folder, "p.yaml", "task: [diffusion")


@bad("YAML", "preset", "a preset is a mapping of sections")
def empty_yaml(folder):
    return put(folder, "p.yaml", "")


@bad("YAML", "preset", "a preset is a mapping of sections")
def yaml_list(folder):
    return put(folder, "p.yaml", "- a\n- b\n")


@bad("YAML", TRAIN, "unknown key 'stepz'")
def yaml_with_an_unknown_key(folder):
    return put(folder, "p.yaml", "task: mean\nname: a\nabout: b\nstepz: 3\n")


@bad("YAML", "preset", "not valid YAML")
def yaml_in_latin1(folder):
    return put(folder, "p.yaml", "task: mean\nname: a\nabout: Stra\xdfe\n".encode("latin1"))


@bad("YAML", "preset", "nested too deep")
def yaml_nested_too_deep(folder):
    return put(folder, "p.yaml", "a: " + "[" * 16_000)


@bad("YAML", "preset", "nested too deep")
def yaml_list_of_lists(folder):
    return put(folder, "p.yaml", "- " * 8000)


@bad("YAML", "preset", "not valid YAML")
def yaml_with_an_impossible_date(folder):
    return put(folder, "p.yaml", "task: 2020-99-99\n")


@bad("YAML", "preset", "not valid YAML")
def yaml_with_an_unhashable_key(folder):
    return put(folder, "p.yaml", "? [a, b]\n: 1\n{a: 1}: 2\n")


@bad("YAML", "preset", "limit")
def yaml_with_a_negative_size(folder):
    return put(folder, "p.yaml", "task: mean\nname: a\nabout: b\nlimit: -5\n")


@bad("YAML", "preset", "seed")
def yaml_with_nan_for_a_whole_number(folder):
    return put(folder, "p.yaml", "task: regressor\nname: a\nabout: b\nseed: .nan\n")


@bad("YAML", TRAIN, "task")
def yaml_of_an_unknown_task(folder):
    return put(folder, "p.yaml", "task: teleportation\nname: a\nabout: b\n")
