from epixs.compendium import schema


def test_every_variable_is_named_once_and_explained():
    variables = (schema.SIGNAL, *schema.COORDINATES)
    assert len({v.name for v in variables}) == len(variables)
    assert all(v.doc and v.dims for v in variables)


def test_missing_signal_is_nan():
    assert schema.SIGNAL.fill != schema.SIGNAL.fill
