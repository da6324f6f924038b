"""What scripts/findings.py is made of: plan (what is run), runner, results (what came out), rules, page."""
