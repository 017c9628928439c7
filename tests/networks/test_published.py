"""The transformer against the authors' implementation, and their weights in and out."""

import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hiermodel.networks.learned import LearnedDenoiser, learned_denoiser
from hiermodel.networks.network import init_params
from hiermodel.networks.published import (
    load_torch_checkpoint,
    transformer_from_state_dict,
    transformer_to_state_dict,
)
from hiermodel.networks.transformer import TransformerConfig
from hiermodel.training.losses import batch_loss, position_losses

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}


@pytest.fixture
def arrays(reference):
    return reference("transformer")


def saved(arrays, kind="param", dtype=np.float64):
    return {
        name.removeprefix(f"{kind}/"): arrays[name].astype(dtype)
        for name in arrays
        if name.startswith(f"{kind}/")
    }


@pytest.fixture
def imported(precision, arrays) -> tuple[LearnedDenoiser, np.dtype, float]:
    dtype = np.dtype(precision.dtype)
    denoiser = transformer_from_state_dict(saved(arrays, dtype=dtype), num_heads=4)
    return denoiser, dtype, TOLERANCE[dtype.name]


def test_logits_agree_with_the_reference(imported, arrays):
    denoiser, dtype, tolerance = imported
    logits = denoiser.logits(arrays["x"].astype(dtype), arrays["t"])
    assert logits.dtype == dtype
    expected = arrays["logits_emb64" if dtype == np.float64 else "logits_float32"]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=tolerance)
    log_probs = denoiser(arrays["x"].astype(dtype), arrays["t"])
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, atol=1e-5)


def loss_from_features(params, config, x, features, x_0):
    logits = config.bind(params).from_time_features(x, features)
    return batch_loss(logits, x_0, jnp.ones(len(x), x.dtype)), logits


def test_loss_and_all_gradients_agree_with_the_reference(imported, arrays):
    denoiser, dtype, tolerance = imported
    x, features = (jnp.asarray(arrays[name], dtype) for name in ("x", "t_emb"))
    x_0 = jnp.asarray(arrays["x0"].astype(np.int32))
    gradient_of = jax.jit(jax.value_and_grad(loss_from_features, has_aux=True), static_argnums=1)
    (loss, logits), gradient = gradient_of(denoiser.params, denoiser.network, x, features, x_0)
    np.testing.assert_allclose(logits, arrays["logits"], rtol=0, atol=tolerance)
    np.testing.assert_allclose(loss, arrays["loss"], rtol=0, atol=tolerance)
    per_token = position_losses(logits, x_0, "cross_entropy")
    np.testing.assert_allclose(per_token, arrays["loss_per_token"], rtol=0, atol=tolerance)
    weights = jnp.asarray(arrays["vlb_weight"], dtype)
    weighted = batch_loss(logits, x_0, jnp.ones(len(x_0), dtype), weights)
    np.testing.assert_allclose(weighted, arrays["loss_vlb"], rtol=tolerance, atol=tolerance)
    named = transformer_to_state_dict(learned_denoiser(denoiser.network, gradient))
    expected = saved(arrays, "grad")
    assert named.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(named[name], value, rtol=0, atol=tolerance, err_msg=name)


def test_shape_of_the_network_is_read_from_the_weights(imported):
    config = imported[0].network
    assert config == TransformerConfig(
        num_leaves=16, vocab_size=6, width=32, num_layers=2, num_heads=4, feedforward_factor=2
    )


def test_weights_go_in_and_out_unchanged(imported, arrays):
    denoiser, dtype, _ = imported
    back = transformer_to_state_dict(denoiser)
    expected = saved(arrays, dtype=dtype)
    assert back.keys() == expected.keys()
    for name, value in expected.items():
        assert back[name].dtype == dtype
        np.testing.assert_array_equal(back[name], value, err_msg=name)


def test_names_of_compiled_and_sequential_modules_are_understood(arrays):
    plain = saved(arrays, dtype=np.float32)
    odd = {
        "_orig_mod."
        + name.replace("input_up_projection.", "input_up_projection.0.").replace(
            "output_down_projection.", "output_down_projection.0."
        ): value
        for name, value in plain.items()
    }
    denoiser = transformer_from_state_dict(odd, num_heads=4)
    for name, value in transformer_to_state_dict(denoiser).items():
        np.testing.assert_array_equal(value, plain[name])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop("output_down_projection.bias"), "output_down_projection.bias"),
        (lambda s: s.pop("positional_embedding.weight"), "positional_embedding.weight"),
        (lambda s: s.update({"transformer_encoder.norm.weight": np.ones(32)}), "encoder.norm"),
        (lambda s: s.update({"time_embedding.bias": np.ones(31)}), "time_embedding.bias"),
        (lambda s: s.update({"_orig_mod.time_embedding.bias": np.ones(32)}), "given twice"),
    ],
)
def test_wrong_state_is_refused_by_name(arrays, change, complaint):
    state = saved(arrays)
    change(state)
    with pytest.raises(ValueError, match=complaint):
        transformer_from_state_dict(state, num_heads=4)


def test_heads_must_divide_the_width(arrays):
    with pytest.raises(ValueError, match="width"):
        transformer_from_state_dict(saved(arrays), num_heads=5)


def test_only_post_norm_transformers_are_exported():
    config = TransformerConfig(4, 3, width=8, num_layers=1, num_heads=2, pre_norm=True)
    denoiser = learned_denoiser(config, init_params(jax.random.key(0), config))
    with pytest.raises(ValueError, match="post-norm"):
        transformer_to_state_dict(denoiser)


def test_without_torch_the_message_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="needs PyTorch"):
        load_torch_checkpoint(tmp_path / "model.pt")


class FakeTensor:
    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    def numpy(self):
        return self.array


@pytest.mark.parametrize("wrapper", [None, "model_state_dict", "state_dict"])
def test_state_dicts_are_found_in_torch_files(monkeypatch, wrapper):
    tensors = {"a.weight": FakeTensor(np.ones((2, 3), np.float32))}
    calls = {}

    def load(path, **options):
        calls.update(options)
        return {wrapper: tensors, "epoch": 3} if wrapper else tensors

    torch = types.SimpleNamespace(load=load, is_tensor=lambda x: isinstance(x, FakeTensor))
    monkeypatch.setitem(sys.modules, "torch", torch)
    state = load_torch_checkpoint("model.pt")
    assert calls["weights_only"] is True
    np.testing.assert_array_equal(state["a.weight"], np.ones((2, 3)))


def test_a_torch_file_without_a_state_dict_is_refused(monkeypatch):
    torch = types.SimpleNamespace(load=lambda path, **_: {"epoch": 3}, is_tensor=lambda x: False)
    monkeypatch.setitem(sys.modules, "torch", torch)
    with pytest.raises(ValueError, match="state dict"):
        load_torch_checkpoint("model.pt")
