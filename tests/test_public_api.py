"""The names and parameters that users rely on."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hiermodel as hm

# name: its parameters; those after * are keyword-only
CONTRACT = {
    "fit": (
        "key network sequences process * num_steps batch_size learning_rate callback vocab_size "
        "points progress"
    ),
    "host_denoiser": "function num_leaves vocab_size",
    "Grammar.random": "key * vocab_size depth branching rules_per_symbol sigma shared",
    "Grammar.random_hierarchy": "key * vocab_size depth branching rules_per_symbol",
    "Grammar.random_zipf": "key * vocab_size depth branching rules_per_symbol exponent shared",
    "Grammar.from_tensor": "rho * depth root_probs",
    "Grammar.from_rules": "children probs * depth root_probs",
    "paper_grammar": "seed",
    "sample_tree": "key grammar num_samples * filter_level",
    "sample_leaves": "key grammar num_samples * filter_level",
    "run_bp": "grammar leaf_evidence * filter_level",
    "log_prob": "grammar leaves * filter_level",
    "run_messages": "grammar leaf_evidence * filter_level",
    "posterior_entropy": "grammar leaf_evidence * filter_level",
    "sample_posterior": "key grammar leaf_evidence num_samples * filter_level",
    "most_probable_tree": "grammar leaf_evidence * filter_level",
    "Schedule.linear": "num_steps",
    "Schedule.from_betas": "betas",
    "add_noise": "key schedule x_0 t",
    "exact_denoiser": "grammar schedule * filter_level",
    "independent_denoiser": "schedule log_probs",
    "empirical_denoiser": "schedule sequences vocab_size",
    "score": "denoiser schedule x_t t",
    "log_density": "grammar schedule x_t t * filter_level",
    "sample_ancestral": "key denoiser schedule num_samples * x_T start joint",
    "u_turn": "key denoiser schedule x_0 t * joint",
    "DiscreteProcess.masked": "vocab_size num_steps * decay",
    "DiscreteProcess.uniform": "vocab_size num_steps * decay",
    "DiscreteProcess.from_betas": "betas noise_law vocab_size",
    "sample_any_order": "key denoiser process num_samples * x_T",
    "fit_grammar": "grammar sequences",
    "fit_grammar_by_em": "grammar sequences * num_iterations tolerance num_starts key",
    "transformer_from_state_dict": "state * num_heads",
    "advise_stop": "key steps test_loss * gap split_divergence neighbour_divergence "
    "tolerated_gap false_alarm num_looks num_permutations",
    "permuted_gap": "key generated_a generated_b train_a train_b * num_permutations metric",
    "datasets.load": "name * split num seed",
    "theory.belief_map": "p * vocab_size rules_per_symbol branching",
    "theory.noise_threshold": "* vocab_size rules_per_symbol branching",
    "theory.correlation_exponent": "* vocab_size rules_per_symbol branching",
    "theory.leaf_covariance": "distance * vocab_size rules_per_symbol branching",
}

DEFAULTS = {
    "fit": {"callback": None, "vocab_size": None, "points": 100, "progress": True},
    "Grammar.random": {"branching": 2, "sigma": 1.0, "shared": True},
    "Grammar.random_zipf": {"branching": 2, "exponent": 1.0, "shared": False},
    "Grammar.from_tensor": {"root_probs": None},
    "Grammar.from_rules": {"probs": None, "root_probs": None},
    "paper_grammar": {"seed": 0},
    "sample_tree": {"filter_level": 0},
    "sample_leaves": {"filter_level": 0},
    "run_bp": {"filter_level": 0},
    "log_prob": {"filter_level": 0},
    "run_messages": {"filter_level": 0},
    "posterior_entropy": {"filter_level": 0},
    "sample_posterior": {"filter_level": 0},
    "most_probable_tree": {"filter_level": 0},
    "Schedule.linear": {"num_steps": 500},
    "exact_denoiser": {"filter_level": 0},
    "independent_denoiser": {"log_probs": None},
    "log_density": {"filter_level": 0},
    "sample_ancestral": {"num_samples": None, "x_T": None, "start": None, "joint": False},
    "u_turn": {"joint": False},
    "DiscreteProcess.masked": {"num_steps": 500, "decay": "linear"},
    "DiscreteProcess.uniform": {"num_steps": 500, "decay": "linear"},
    "sample_any_order": {"num_samples": None, "x_T": None},
    "advise_stop": {
        "gap": None,
        "split_divergence": None,
        "neighbour_divergence": None,
        "tolerated_gap": 0.0,
        "false_alarm": 0.05,
        "num_looks": 25,
        "num_permutations": 2000,
    },
    "fit_grammar_by_em": {
        "num_iterations": 1000,
        "tolerance": 1e-10,
        "num_starts": 1,
        "key": None,
    },
    "permuted_gap": {"num_permutations": 2000, "metric": "hamming"},
    "datasets.load": {"split": "train", "num": None, "seed": 0},
    "theory.belief_map": {"branching": 2},
    "theory.noise_threshold": {"branching": 2},
    "theory.correlation_exponent": {"branching": 2},
    "theory.leaf_covariance": {"branching": 2},
}


def find(name):
    thing = hm
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


@pytest.mark.parametrize("name", CONTRACT)
def test_the_contract_is_kept(name):
    parameters = inspect.signature(find(name)).parameters.values()
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    keyword = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert " ".join(positional + ["*"] * bool(keyword) + keyword) == CONTRACT[name]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    assert defaults == DEFAULTS.get(name, {})


def test_attributes_of_the_contract():
    grammar, schedule = hm.paper_grammar(), hm.Schedule.linear(20)
    assert (grammar.depth, grammar.branching, grammar.vocab_size) == (4, 2, 6)
    assert grammar.num_leaves == 16
    assert (schedule.num_steps, schedule.alpha_bar.shape) == (20, (21,))
    denoiser = hm.exact_denoiser(grammar, schedule)
    assert (denoiser.num_leaves, denoiser.vocab_size) == (16, 6)
    assert {"log_evidence", "log_marginals"} <= set(hm.Beliefs._fields)


def test_the_public_names_are_exactly_the_explicit_re_exports():
    tree = ast.parse(Path(hm.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imports = [node for node in imports if str(node.module).startswith("hiermodel")]
    names = [alias.asname or alias.name for node in imports for alias in node.names]
    assert sorted(hm.__all__) == sorted(names)
    assert all(hasattr(hm, name) for name in hm.__all__)


def test_the_package_does_nothing_but_re_export_and_load_subpackages_on_first_use():
    statements = ast.parse(Path(hm.__file__).read_text()).body
    assert isinstance(statements[0], ast.Expr)  # the docstring
    functions = [node.name for node in statements if isinstance(node, ast.FunctionDef)]
    assert functions == ["__getattr__", "__dir__"]
    assigned = [
        node.targets[0].id
        for node in statements
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    ]
    assert assigned == ["__all__", "LAZY", "TRAINING_PACKAGES"]


NAMESPACES = [name for name, module in hm.LAZY.items() if module is None]


# What each exports: what a user needs, and nothing else.
NAMES = {
    "datasets": (
        "CHECKSUMS SPLITS Dataset checksum load to_grain to_hugging_face write_npz write_parquet"
    ),
    "diffusion": (
        "Denoiser DenoiserError DiscreteProcess MeanDenoiser Process Schedule add_noise "
        "averaged_denoiser empirical_denoiser empirical_pixel_denoiser exact_denoiser "
        "gaussian_pixel_denoiser haar_filter host_denoiser independent_denoiser log_density "
        "one_hot pca_filter sample_ancestral sample_any_order sample_ddim sample_ode score u_turn"
    ),
    "grammar": (
        "EntropyBounds Grammar Law PairStatistics Splits enumerate_law is_unambiguous "
        "leaf_entropy leaf_entropy_bounds leaf_pairs make_splits paper_grammar rule_entropy "
        "sample_leaves sample_tree support_size symbol_log_marginals tree_count tree_divergence "
        "tree_entropy"
    ),
    "inference": (
        "Beliefs NodeMessages family_log_marginals fit_grammar fit_grammar_by_em "
        "leaf_log_marginals log_prob most_probable_tree next_symbol_log_probs posterior_entropy "
        "run_bp run_messages sample_posterior"
    ),
    "measures": (
        "Advice Attack BlockExcess Clusters Evidence Examination Interval LossDecomposition "
        "Minimum Neighbours PairCorrelations PermutedGap Reconstruction Validity advise_stop "
        "attack_losses biased_phase block_reproduction correlations_by_distance decompose_loss "
        "denoiser_divergence denoising_loss distance_histogram epsilon_lower_bound "
        "estimate_leaf_entropy evaluate_attack evaluate_loss examine_sampler excess_reproduction "
        "find_clusters histogram_divergence kl_divergence law_histogram level_validity "
        "locate_minimum loss_floor membership_score near_copies nearest_images "
        "nearest_neighbour_divergence nearest_neighbour_floor nearest_neighbours neighbour_ratio "
        "overlap own_other_gap pair_correlations permuted_block_excess permuted_gap "
        "proportion_interval reconstruct_ancestors reference_law repeated_u_turns "
        "student_interval two_way_gap"
    ),
    "networks": (
        "LearnedDenoiser Losses MLPConfig Network PixelNoise SymbolLogits Target "
        "TransformerConfig TreeUNetConfig UNetConfig from_module learned_denoiser "
        "load_torch_checkpoint transformer_from_state_dict transformer_to_state_dict"
    ),
    "theory": (
        "LeafNoise Sizes belief_map belief_slope change_exponent class_signal collapse_step "
        "correlation_exponent expected_beliefs expected_entropy expected_leaf_covariance "
        "expected_support fixed_points information leaf_covariance noise_threshold "
        "recovery_threshold rms_leaf_covariance sampled_beliefs sampled_threshold sampling_noise "
        "sequences_to_learn sequences_to_see sizes speciation_steps threshold_step"
    ),
    "training": (
        "Checkpoints Ensemble FitProgress FreshData Member NotFiniteError PrivacyConfig "
        "StackedCheckpoints TrainingConfig checkpoint_epochs epsilon_spent fit fresh "
        "member_checkpoints train train_members"
    ),
}


@pytest.mark.parametrize("name", NAMESPACES)
def test_namespaces_export_these_names(name):
    namespace = getattr(hm, name)
    assert namespace.__name__ == f"hiermodel.{name}"
    assert sorted(namespace.__all__) == sorted(NAMES[name].split())
    assert all(hasattr(namespace, one) for one in namespace.__all__)


def test_importing_the_package_imports_little_beyond_jax():
    """Under a second on two cores, most of it JAX itself; what is heavy loads on first use."""
    code = (
        "import sys, jax, jax.numpy, numpy; before = set(sys.modules); import hiermodel as hm\n"
        "added = set(sys.modules) - before\n"
        "print(*sorted({name.split('.')[0] for name in added}))\n"
        "print(len(added)); hm.measures, hm.theory; print('flax' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    packages, number, flax_is_loaded = run.stdout.splitlines()
    heavy = {"flax", "optax", "orbax", "scipy", "matplotlib", "tqdm", "filelock", "tyro", "jinja2"}
    assert not heavy & set(packages.split())
    assert int(number) < 150
    assert flax_is_loaded == "False"


@pytest.mark.parametrize("name", ["transformer_from_state_dict", "fit"])
def test_what_training_needs_is_named_where_it_is_missing(name):
    code = (
        "import sys; sys.modules['flax'] = sys.modules['optax'] = None\n"
        f"import hiermodel as hm; hm.{name}"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'hiermodel[train]'" in run.stderr.splitlines()[-1]


def test_what_is_no_subpackage_is_no_attribute():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = hm.no_such_name
