# The logic is in bench/: each script there also runs by itself.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down test test-all bench lint sanity units integration molecule docs lock lock-airflow clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / { printf "  make %-42s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a whole Airflow cluster in containers on this machine
	@bench/demo up

demo-down: ## remove the demo, and nothing else
	@bench/demo down

test: ## all of the tests below, from nothing
	@bench/test lint sanity units integration molecule

test-all: ## all of them and those that take hours; what has passed on this very tree is not run again
	@bench/test --resume lint sanity units integration molecule rest

lint sanity units integration molecule: ## one part of the tests
	@bench/test $@

bench: ## measure the budgets beside their baselines, and write docs/MEASURED.md; takes hours
	@bench/bench

docs: ## write the generated parts of the documentation
	@bench/docs

lock: ## refresh the locked tools (bench/requirements.txt)
	@bench/lock

lock-airflow: ## write the lock of a release: make lock-airflow VERSION=3.3.2 DAY=2026-09-18
	@bench/lock-airflow $(VERSION) $(DAY)

clean: ## remove the tools, the image, the cache and all hosts of tests and demo
	@bench/clean
