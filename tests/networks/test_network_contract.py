"""What every network promises, this library's and a user's own."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from own_module import OwnModule

from hiermodel.diffusion.denoiser import Denoiser, MeanDenoiser
from hiermodel.diffusion.discrete import DiscreteProcess
from hiermodel.diffusion.schedule import Schedule
from hiermodel.networks.learned import learned_denoiser
from hiermodel.networks.mlp import MLPConfig
from hiermodel.networks.modules import from_module
from hiermodel.networks.network import (
    Network,
    Target,
    apply,
    check_network,
    init_params,
    param_shapes,
    takes,
)
from hiermodel.networks.targets import PixelNoise, SymbolLogits
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.networks.tree_unet import TreeUNetConfig
from hiermodel.networks.unet import UNetConfig
from hiermodel.random_bits import row_key

KEY = jax.random.key(0)
SCHEDULE = Schedule.linear(
    50,
)
SYMBOLS = SymbolLogits(4, 3)


@dataclasses.dataclass(frozen=True)
class PlainNetwork:
    """A Network written out by hand, without Flax: logits linear in x_t."""

    target: SymbolLogits = SYMBOLS

    def init(self, key):
        return {"scale": jax.random.normal(key, (3, 3), jnp.float32)}

    def apply(self, params, x_t, t, key=None):
        drops = 0 if key is None else jax.vmap(jax.random.fold_in, (None, 0))(key.key, key.rows)
        kept = 1.0
        if key is not None:
            masks = jax.vmap(lambda one: jax.random.bernoulli(one, 0.5, (4, 3)))(drops)
            kept = masks.reshape(x_t.shape).astype(x_t.dtype)
        return (x_t * kept) @ params["scale"] / (1 + jnp.asarray(t))[..., None, None]


NETWORKS = {
    "transformer": TransformerConfig(4, 3, width=8, num_layers=2, num_heads=2, dropout=0.2),
    "transformer, pre-norm": TransformerConfig(
        4, 3, width=8, num_layers=1, num_heads=2, dropout=0.2, pre_norm=True
    ),
    "mlp": MLPConfig(4, 3, width=16, num_blocks=2, dropout=0.2),
    "tree U-Net": TreeUNetConfig(2, 2, 3, width=8, dropout=0.2),
    "tree U-Net, posteriors": TreeUNetConfig(
        2, 2, 3, width=8, time="posterior", num_steps=50, dropout=0.2
    ),
    "U-Net": UNetConfig(
        2, 2, base_width=4, multipliers=(1,), num_res_blocks=1, num_groups=2, dropout=0.2
    ),
    "own factory": from_module(lambda rngs: OwnModule(4, 3, rngs), SYMBOLS),
    "own module": from_module(OwnModule(4, 3, nnx.Rngs(3)), SYMBOLS),
    "own module of images": from_module(lambda rngs: OwnModule(4, 1, rngs), PixelNoise(2, 2)),
    "without Flax": PlainNetwork(),
}
APPLY = jax.jit(apply, static_argnums=0, static_argnames="remat")


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]


@pytest.fixture
def params(network):
    """Initial parameters, moved a little: some networks start from zero outputs."""
    shift = {name: 0.1 * jnp.ones(shape, jnp.float32) for name, shape in shapes(network).items()}
    return jax.tree.map(jnp.add, init_params(KEY, network), shift)


def shapes(network):
    return param_shapes(network)


def noisy(network, *batch):
    return jax.random.normal(jax.random.key(1), (*batch, *network.target.event_shape), jnp.float32)


def test_it_meets_the_protocol(network):
    assert isinstance(network, Network)
    assert isinstance(network.target, Target)
    check_network(network)
    assert hash(network) == hash(network)
    assert network in {network: None}


def test_parameters_have_stable_names_and_come_from_the_key_alone(network):
    first, again = init_params(KEY, network), init_params(KEY, network)
    assert {name: value.shape for name, value in first.items()} == shapes(network)
    assert all(isinstance(name, str) for name in first)
    assert all(value.dtype == jnp.float32 for value in first.values())
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])


def test_other_keys_give_other_starts(network):
    one, other = init_params(KEY, network), init_params(jax.random.key(1), network)
    differ = any(not np.array_equal(value, other[name]) for name, value in one.items())
    assert differ == (network is not NETWORKS["own module"])  # a module starts from its own values


def test_output_has_the_shape_of_x_t_whatever_the_batch(network, params):
    x_t, t = noisy(network, 2, 3), jnp.array([[1, 2, 3], [30, 40, 50]])
    together = APPLY(network, params, x_t, t)
    assert together.shape == x_t.shape
    assert together.dtype == jnp.float32
    flat = APPLY(network, params, x_t.reshape(6, *x_t.shape[2:]), t.reshape(6))
    np.testing.assert_allclose(flat.reshape(x_t.shape), together, atol=1e-5)
    np.testing.assert_allclose(APPLY(network, params, x_t[1, 2], 50), together[1, 2], atol=1e-5)
    column = APPLY(network, params, x_t, jnp.array([[5], [6]]))
    np.testing.assert_allclose(column[1, 0], APPLY(network, params, x_t[1, 0], 6), atol=1e-5)


def test_it_runs_under_vmap_and_grad(network, params):
    x_t = noisy(network, 3)
    stacked = jax.tree.map(lambda value: jnp.stack([value, 2 * value]), params)
    both = jax.jit(jax.vmap(lambda one: apply(network, one, x_t, jnp.int32(5))))(stacked)
    np.testing.assert_allclose(both[0], APPLY(network, params, x_t, jnp.int32(5)), atol=1e-5)

    def loss(params):
        return jnp.square(apply(network, params, x_t, jnp.int32(5))).mean()

    gradient = jax.jit(jax.grad(loss))(params)
    assert all(np.isfinite(value).all() for value in gradient.values())
    assert any(np.abs(value).max() > 0 for value in gradient.values())


def test_dropout_acts_only_with_a_key_and_by_row(network, params):
    x_t, t, key = noisy(network, 6), jnp.int32(3), row_key(jax.random.key(1), 6)
    plain = APPLY(network, params, x_t, t)
    np.testing.assert_array_equal(plain, APPLY(network, params, x_t, t))
    one = APPLY(network, params, x_t, t, key)
    assert np.abs(one - plain).max() > 1e-4
    np.testing.assert_array_equal(one, APPLY(network, params, x_t, t, key))
    other = APPLY(network, params, x_t, t, row_key(jax.random.key(2), 6))
    assert np.abs(one - other).max() > 1e-4
    if takes(network, "dropout"):
        without = APPLY(network, params, x_t, t, key, dropout=jnp.float32(0))
        np.testing.assert_allclose(without, plain, atol=1e-6)
    # A row's dropout depends on its number alone: other rows around it, in another order.
    rows = np.array([5, 0, 3, 0, 5, 5])
    some = APPLY(network, params, x_t[rows], t, key._replace(rows=key.rows[rows]))
    np.testing.assert_allclose(some, one[rows], atol=1e-5)


def test_it_makes_the_denoiser_of_its_target(network, params):
    denoiser = learned_denoiser(network, params, SCHEDULE)
    x_t = noisy(network, 2)
    given = denoiser(x_t, 7)
    assert given.shape == x_t.shape
    if network.target.dtype == jnp.uint8:
        assert isinstance(denoiser, MeanDenoiser)
        assert denoiser.event_shape == network.target.event_shape
    else:
        assert isinstance(denoiser, Denoiser)
        assert (denoiser.num_leaves, denoiser.vocab_size) == network.target.event_shape
        np.testing.assert_allclose(np.exp(given).sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["transformer", "mlp", "tree U-Net", "own factory"])
def test_denoisers_stacked_on_an_axis_run_under_vmap(name):
    network, keys = NETWORKS[name], jax.random.split(KEY, 3)
    params, x_t = jax.vmap(lambda key: init_params(key, network))(keys), noisy(NETWORKS[name], 2)
    stacked = learned_denoiser(network, params, SCHEDULE)
    together = jax.jit(jax.vmap(lambda one: one(x_t, 5)))(stacked)
    alone = learned_denoiser(network, init_params(keys[1], network))(x_t, 5)
    np.testing.assert_allclose(together[1], alone, atol=1e-5)


def test_wrong_input_and_parameters_are_refused(network, params, unchecked_types):
    denoiser, x_t = learned_denoiser(network, params, SCHEDULE), noisy(network, 2)
    for wrong, t, complaint in (
        (x_t[:, 1:], 1, "x_t"),
        (x_t.astype(int), 1, "floating"),
        (x_t.at[0].set(jnp.nan), 1, "finite"),
        (x_t, 0, "t=0"),
        (x_t, 51, "1…50"),
        (x_t, np.array([1, 2, 3]), "broadcast"),
    ):
        with pytest.raises(ValueError, match=complaint):
            denoiser(wrong, t)
    name = next(iter(params))
    with pytest.raises(ValueError, match=rf"missing.*{name}"):
        learned_denoiser(network, {n: p for n, p in params.items() if n != name})
    with pytest.raises(ValueError, match=r"unknown.*surprise"):
        learned_denoiser(network, params | {"surprise": params[name]})
    with pytest.raises(ValueError, match=name):
        learned_denoiser(network, params | {name: params[name][1:]}, SCHEDULE)


def test_options_that_a_network_does_not_take_are_refused(network, params):
    x_t = noisy(network, 2)
    if takes(network, "remat"):
        plain = APPLY(network, params, x_t, jnp.int32(3))
        other = APPLY(network, params, x_t, jnp.int32(3), remat=True)
        np.testing.assert_allclose(other, plain, atol=1e-6)
        return
    with pytest.raises(ValueError, match="one whose apply takes remat"):
        apply(network, params, x_t, jnp.int32(3), remat=True)


# The two targets.


def test_clean_data_and_losses_of_symbols():
    x_0 = jnp.array([[0, 1, 2, 1]], jnp.int32)
    key, t = row_key(KEY, 1), jnp.array([1])
    x_t, wanted = SYMBOLS.corrupt(key, SCHEDULE, x_0, t, "float32")
    np.testing.assert_array_equal(wanted, x_0)
    np.testing.assert_allclose(x_t[0], np.eye(3)[[0, 1, 2, 1]], atol=0.2)  # hardly any noise
    logits = 50.0 * jax.nn.one_hot(x_0, 3)
    np.testing.assert_allclose(SYMBOLS.losses(logits, wanted, "cross_entropy"), 0)
    # Masks have no symbol: the network sees zeros.
    masks = DiscreteProcess.masked(3, num_steps=50)
    x_t, _ = SYMBOLS.corrupt(key, masks, x_0, jnp.array([50]), "float32")
    np.testing.assert_array_equal(x_t, np.zeros((1, 4, 3)))
    assert SYMBOLS.checked("sequences", np.asarray(x_0)).dtype == np.int8


def test_clean_data_and_losses_of_images():
    target = PixelNoise(2, 3)
    images = np.full((1, 2, 3, 1), 255, np.uint8)
    key, t = row_key(KEY, 1), jnp.array([7])
    x_t, noise = target.corrupt(key, SCHEDULE, jnp.asarray(images), t, "float32")
    np.testing.assert_allclose(SCHEDULE.remove_noise(x_t, noise, t), np.ones((1, 6, 1)), atol=1e-5)
    np.testing.assert_allclose(target.losses(noise + 2, noise, "cross_entropy"), [4.0], rtol=1e-5)
    assert target.checked("images", images).dtype == np.uint8
    with pytest.raises(ValueError, match="noise that the network predicts"):
        target.denoiser(NETWORKS["U-Net"], {}, None)
    with pytest.raises(ValueError, match=r"process='DiscreteProcess' is not allowed.*Gaussian"):
        target.denoiser(NETWORKS["U-Net"], {}, DiscreteProcess.masked(2, 20))


@pytest.mark.parametrize(
    ("target", "values", "complaint"),
    [
        (SYMBOLS, np.zeros((2, 5), int), r"num_sequences, 4"),
        (SYMBOLS, np.zeros((0, 4), int), r"num_sequences, 4"),
        (SYMBOLS, np.full((2, 4), 3), "symbol 3"),
        (SYMBOLS, np.full((2, 4), np.nan), "number"),
        (PixelNoise(2, 2), np.zeros((2, 4)), "num_images, 2, 2, 1"),
        (PixelNoise(2, 2), np.full((2, 2, 2, 1), np.nan), "number"),
        (PixelNoise(2, 2), np.zeros((2, 2, 2, 1), int), "uint8 or floating"),
    ],
)
def test_wrong_data_are_refused_by_name(target, values, complaint):
    with pytest.raises(ValueError, match=f"mine.*{complaint}"):
        target.checked("mine", values)


# A user's own modules.


def test_a_module_is_copied_as_it_is():
    module = OwnModule(4, 3, nnx.Rngs(5))
    network = from_module(module, SYMBOLS)
    before = np.asarray(module.hidden.kernel)
    module.hidden.kernel = nnx.Param(jnp.zeros_like(before))
    np.testing.assert_array_equal(init_params(KEY, network)["hidden.kernel"], before)
    assert set(init_params(KEY, network)) == {
        f"{layer}.{part}" for layer in ("hidden", "out") for part in ("kernel", "bias")
    }


def test_a_network_of_one_factory_and_target_is_the_same():
    def factory(rngs):
        return OwnModule(4, 3, rngs)

    assert from_module(factory, SYMBOLS) == from_module(factory, SYMBOLS)
    assert NETWORKS["mlp"] == pickle.loads(pickle.dumps(NETWORKS["mlp"]))


def test_a_module_of_another_shape_is_refused_saying_which():
    class Sums(OwnModule):
        def __call__(self, x_t, t):
            return super().__call__(x_t, t).sum(-1)

    with pytest.raises(ValueError, match=r"gave shape \(2, 4\), and must give \(2, 4, 3\)"):
        from_module(lambda rngs: Sums(4, 3, rngs), SYMBOLS)


def test_a_module_with_running_statistics_is_refused():
    class Normalised(OwnModule):
        def __init__(self, rngs):
            super().__init__(4, 3, rngs)
            self.norm = nnx.BatchNorm(3, rngs=rngs)

    with pytest.raises(ValueError, match=r"norm\.(mean|var) is neither"):
        from_module(Normalised, SYMBOLS)
