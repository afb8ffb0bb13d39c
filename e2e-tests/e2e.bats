#!/usr/bin/env bats

# The main cases with kwctl and recorded requests. The sessions answer the look-ups.

setup() {
  cd "$BATS_TEST_DIRNAME/.."
}

# judge SESSION REQUEST [SETTINGS]
judge() {
  run kwctl run annotated-policy.wasm \
    --allow-context-aware \
    --replay-host-capabilities-interactions "e2e-tests/sessions/$1.yml" \
    --request-path "tests/recordings/$2.json" \
    --settings-json "${3:-{\}}"
  # Shown when one of the checks below fails.
  echo "$output"
  [ "$status" -eq 0 ]
}

allowed() {
  [ "$(expr "$output" : '.*"allowed":true.*')" -ne 0 ]
}

denied() {
  [ "$(expr "$output" : '.*"allowed":false.*')" -ne 0 ]
}

says() {
  [ "$(expr "$output" : ".*$1.*")" -ne 0 ]
}

@test "Helm 3: an upgrade that would lose a ConfigMap is rejected" {
  judge helm3-trap helm3/2-upgrade-to-hook/01-create-secret-sh.helm.release.v1.yahoo.v2
  denied
  says "hook-pruned: ConfigMap basic-app-config"
  says "Deployment yahoo-basic-app"
}

@test "Helm 4: an upgrade that would lose a ConfigMap is rejected" {
  judge helm4-trap helm4/2-upgrade-to-hook/01-create-secret-sh.helm.release.v1.yahoo.v2
  denied
  says "hook-pruned: ConfigMap basic-app-config"
}

@test "Release records in ConfigMaps are judged too" {
  judge configmap-driver-trap helm3/8-configmap-driver/05-create-configmap-sh.helm.release.v1.cmrel.v2
  denied
  # If a session does not match the look-ups, the request is denied too.
  says "hook-pruned: ConfigMap"
}

@test "The settings can turn the finding into a warning" {
  judge helm3-trap helm3/2-upgrade-to-hook/01-create-secret-sh.helm.release.v1.yahoo.v2 \
    '{"releaseGuard": {"findings": {"hook-pruned": "warn"}}}'
  allowed
  says "hook-pruned"
}

@test "A rollback that loses nothing is accepted" {
  judge rollback helm4/4-rollback-to-v1/01-create-secret-sh.helm.release.v1.yahoo.v4
  allowed
}

@test "A new workload gets a config hash" {
  judge new-workload helm3/1-install-v1/03-create-deployment-yahoo-basic-app
  allowed
  says '"patch":'
}

@test "The config of a workload older than the policy is recorded" {
  judge known-workload helm3/6-kubectl/02-update-deployment-yahoo-basic-app
  allowed
  says '"patch":'
}

@test "Settings with a misspelt field are rejected" {
  # Without --allow-context-aware, because kwctl would connect to a cluster before it checks the settings.
  run kwctl run annotated-policy.wasm \
    --request-path tests/recordings/helm3/1-install-v1/02-create-configmap-basic-app-config.json \
    --settings-json '{"releaseGard": {}}'
  echo "$output"
  [ "$status" -ne 0 ]
  says "did you mean"
}
