"""How results are shown: figures and reports from saved measurements; nothing here trains."""
