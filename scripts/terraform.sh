# `make terraform`: checks the AWS deployment in terraform/ without AWS. The real terraform runs against a
# stand-in for the AWS provider (tests/terraform), which has the arguments of every resource in use as the
# provider's version 6.25.0 has them, and no idea of what AWS would accept. With arguments: only the named steps.

# Its own logs: it is a step of `make test`, too.
logs=target/suites/terraform
. scripts/suite.sh
. scripts/setup.sh
. scripts/python.sh

have terraform || stop "terraform is missing. Install it: https://developer.hashicorp.com/terraform/install (1.9 or newer; one program, no registry is needed)"

scratch=$PWD/target/terraform
python=$PWD/.tools/terraform/bin/python
environments='staging production'

# Nothing that this user has configured, and nothing that asks a registry.
export TF_CLI_CONFIG_FILE="$scratch/terraform.rc" TF_DATA_DIR="$scratch/data" TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1

run() {
    terraform -chdir=terraform "$@"
}

# Only what goes wrong is worth reading.
quietly() {
    "$@" >"$scratch/said" 2>&1 || {
        cat "$scratch/said"
        return 1
    }
}

tools() {
    python_environment terraform tests/terraform/requirements.txt
    rm -rf "$scratch"
    mkdir -p "$scratch"
    : >"$TF_CLI_CONFIG_FILE"
    quietly run get
    say "terraform $(terraform version -json | sed -n 's/.*"terraform_version": "\(.*\)".*/\1/p'), arguments of the AWS provider $("$python" -c 'import json; print(json.load(open("tests/terraform/schema.json"))["provider_version"])')"
}

# One stand-in for all of terraform's runs: terraform would start it anew for each, several times.
start_provider() {
    mkfifo "$scratch/ready"
    "$python" tests/terraform/provider.py >"$scratch/ready" 2>"$scratch/provider.log" &
    provider=$!
    trap 'kill "$provider" 2>/dev/null || true' EXIT
    trap 'exit 143' INT TERM
    # It says where it is once it listens; if it ends before, there is nothing to read.
    read -r TF_REATTACH_PROVIDERS <"$scratch/ready" || {
        cat "$scratch/provider.log"
        stop "the stand-in for the provider did not start"
    }
    export TF_REATTACH_PROVIDERS
}

formatting() {
    terraform fmt -check -diff -recursive terraform
}

validity() {
    quietly run validate -no-color
    say "terraform/ conforms to the provider's argument schema"
}

plans() {
    for environment in $environments; do
        quietly run plan -no-color -input=false -lock=false -state="$scratch/$environment.tfstate" \
            -var-file="environments/$environment.tfvars" -out="$scratch/$environment.plan"
        say "$environment: $(sed -n 's/^Plan: \(.*\)\.$/\1/p' "$scratch/said")"
    done
}

terraform_tests() {
    quietly run test -no-color
    grep -E '^  run |^Success!' "$scratch/said"
}

# What the stand-in "creates" has every policy written out, which a plan has not.
policies() {
    [ -e "$scratch/production.plan" ] || plans
    quietly run apply -no-color -input=false -lock=false -state="$scratch/production.tfstate" "$scratch/production.plan"
    run show -json "$scratch/production.tfstate" >"$scratch/production.json"
    run output -no-color -state="$scratch/production.tfstate" -json >"$scratch/outputs.json"
    [ -x target/debug/shellgate-gateway ] ||
        say "left out: whether the gateway takes its settings, because target/debug/shellgate-gateway is not built"
    SHELLGATE_DEPLOYMENT=$scratch "$python" -m unittest discover --start-directory tests/terraform
}

# A check that is skipped stands beside what it is about, with the reason.
checkov() {
    "$python" -m checkov.main --directory terraform --framework terraform --skip-download --compact --quiet
}

steps="formatting validity plans terraform_tests policies checkov"
if [ $# -gt 0 ]; then steps=$*; fi
suite_or_stop tools
start_provider
for step in $steps; do suite "$step"; done
finish
