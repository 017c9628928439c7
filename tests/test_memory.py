"""Peak memory of large problems, each in a process of its own: nothing else is in its count."""

import os
import subprocess
import sys

import jax
import pytest

pytestmark = pytest.mark.long

START = """
import jax, jax.numpy as jnp, numpy as np
import hiermodel as hm
"""

LARGE_VOCABULARY = """
q, m = 4096, 16
codes = np.random.default_rng(0).integers(0, q * q, (q, m))  # chance gives none twice
grammar = hm.Grammar.from_rules(np.stack([codes // q, codes % q], -1), depth=6)
leaves = hm.sample_leaves(jax.random.key(1), grammar, 8)
jax.block_until_ready(hm.log_prob(grammar, leaves))
jax.block_until_ready(hm.run_bp(grammar, 3 * hm.one_hot(leaves, q)).log_evidence)
"""

MANY_SEQUENCES = """
sequences = np.random.default_rng(0).integers(0, 6, (1_000_000, 16)).astype(np.int8)
denoiser = hm.empirical_denoiser(hm.Schedule.linear(500), sequences, 6)
jax.block_until_ready(denoiser(jax.random.normal(jax.random.key(0), (64, 16, 6)), 75))
"""

SYMBOL_MARGINALS = """
codes = np.random.default_rng(0).integers(0, 256**2, (256, 16))
grammar = hm.Grammar.from_rules(np.stack([codes // 256, codes % 256], -1), depth=4)
jax.block_until_ready(hm.grammar.symbol_log_marginals(grammar))
"""

END = """
status = open("/proc/self/status").read().splitlines()
print(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux says what was held")
@pytest.mark.parametrize(
    ("program", "most"),
    [(LARGE_VOCABULARY, 2048), (MANY_SEQUENCES, 1024), (SYMBOL_MARGINALS, 1024)],
    ids=["q = 4096, m = 16", "10^6 training sequences", "symbol marginals at q = 256"],
)
def test_it_fits(program, most):
    """Peak in MiB, JAX and its compiler included."""
    environment = os.environ | {
        "JAX_ENABLE_X64": "0",
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
    }
    command = [sys.executable, "-c", START + program + END]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert int(done.stdout) / 1024 < most
