"""Operator, pools, migrations and rights: what the values make of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentjobs.cli.settings import Settings
from agentjobs.cli.settings_sources import misspelt_variables
from charts import CHART, LEAST, Helm, Object, environment, pick, pod_specs
from rbac import RUNS_API, documented

EVERYTHING: dict[str, Any] = {
    **LEAST,
    "watchNamespaces": ["team-a"],
    "queues": {"fast": {"allowedNamespaces": ["team-a"], "bestPriority": 1}, "agents": {"bestPriority": 2}},
    "operator": {"defaultTtlSeconds": 0, "statusOutput": True},
    "database": {"existingSecret": "db", "keys": {"directUrl": "direct", "sessionUrl": "sessions"}},
    "pools": {
        "default": {
            "modules": ["a", "b.c"], "preload": ["a"], "path": ["/one", "/two"], "signalModules": ["hooks"],
            "memoryLimitMib": 300, "toolThreads": 8, "models": ["echo", "gemini-*"], "allowEnvFiles": True,
        }
    },
}  # fmt: skip


def settings_of(objects: list[Object], name: str) -> Settings:
    """A Deployment's variables as the settings model reads them, with the secrets' files left out."""
    variables = environment(objects, name)
    assert misspelt_variables(variables) == []
    fields: dict[str, Any] = {
        key.removeprefix("AGENTJOBS_").lower(): value for key, value in variables.items()
    }
    return Settings(**{key: value for key, value in fields.items() if not key.endswith("_file")})


def test_the_operator_is_told_what_the_values_say(helm: Helm) -> None:
    told = settings_of(helm.render(EVERYTHING), "agentjobs-operator")
    assert told.namespaces == ("team-a",)
    assert told.default_ttl_seconds == 0
    assert told.status_output is True
    assert told.health_port == 8080
    assert {q: (r.namespaces, r.best_priority) for q, r in told.queue_access.items()} == {
        "fast": (("team-a",), 1),
        "agents": ((), 2),
    }


def test_no_status_shows_output_where_the_values_do_not_say_so(helm: Helm) -> None:
    assert settings_of(helm.render(LEAST), "agentjobs-operator").status_output is False


def test_a_pool_is_told_what_the_values_say(helm: Helm) -> None:
    told = settings_of(helm.render(EVERYTHING), "agentjobs-worker-default")
    assert told.queues == {"agents": 10, "scheduled": 5}
    assert (told.modules, told.preload, told.signal_modules) == (("a", "b.c"), ("a",), ("hooks",))
    assert told.allow_env_files is True
    assert (told.models, told.path) == (("echo", "gemini-*"), ("/one", "/two"))
    assert (told.memory_limit_mib, told.drain_seconds, told.pool) == (300, 300, "default")
    assert told.tool_threads == 8


def urls_of(objects: list[Object], name: str) -> dict[str, str]:
    """The key of the Secret that each URL of a Deployment comes from."""
    spec = pick(objects, "Deployment", name)["spec"]["template"]["spec"]
    volume = next(v["secret"] for v in spec["volumes"] if v["name"] == "database")
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "database"]
    files = {f"{mount['mountPath']}/{item['path']}": item["key"] for item in volume["items"]}
    named = {k: v for k, v in environment(objects, name).items() if k.endswith("_URL_FILE")}
    assert set(named.values()) == set(files)
    return {k.removeprefix("AGENTJOBS_").removesuffix("_URL_FILE"): files[v] for k, v in named.items()}


def test_every_url_is_a_file_that_is_mounted(helm: Helm) -> None:
    objects = helm.render({**EVERYTHING, "watchNamespaces": []})
    queue, sessions = {"DATABASE": "url", "DATABASE_DIRECT": "direct"}, {"SESSION_DATABASE": "sessions"}
    assert urls_of(objects, "agentjobs-operator") == queue
    for name in ("agentjobs-worker-default", "agentjobs-web"):
        assert urls_of(objects, name) == queue | sessions


def test_each_part_has_the_url_of_its_own_role(helm: Helm) -> None:
    keys = {
        "url": "worker", "directUrl": "worker-direct", "operatorUrl": "operator", "webUrl": "web", "sessionUrl": "sessions",
        "readUrl": "read", "migrateUrl": "owner",
    }  # fmt: skip
    scaled = {"type": "keda", "keda": {"trigger": "postgres"}}
    values = {
        "database": {"existingSecret": "db", "keys": keys},
        "pools": {"default": {"autoscaling": scaled}},
    }
    objects = helm.render(values)
    assert urls_of(objects, "agentjobs-operator") == {"DATABASE": "operator"}
    assert urls_of(objects, "agentjobs-web") == {"DATABASE": "web", "SESSION_DATABASE": "sessions"}
    assert urls_of(objects, "agentjobs-worker-default") == {
        "DATABASE": "worker", "DATABASE_DIRECT": "worker-direct", "SESSION_DATABASE": "sessions",
    }  # fmt: skip
    (authentication,) = [o for o in objects if o["kind"] == "TriggerAuthentication"]
    assert [one["key"] for one in authentication["spec"]["secretTargetRef"]] == ["read"]


@pytest.mark.parametrize(
    ("keys", "given"),
    [
        ({}, {"DATABASE": "url"}),
        ({"webUrl": "web"}, {"DATABASE": "web", "SESSION_DATABASE": "url"}),
        ({"webUrl": "web", "directUrl": "direct"}, {"DATABASE": "web", "SESSION_DATABASE": "url"}),
        ({"webUrl": "web", "sessionUrl": "adk"}, {"DATABASE": "web", "SESSION_DATABASE": "adk"}),
    ],
)
def test_the_runs_api_finds_conversations_where_workers_keep_them_whatever_its_own_url(
    helm: Helm, keys: dict[str, str], given: dict[str, str]
) -> None:
    objects = helm.render({"database": {"existingSecret": "db", "keys": keys}})
    assert urls_of(objects, "agentjobs-web") == given


@pytest.mark.parametrize("source", ["secret", "configMap"])
@pytest.mark.parametrize("mode", ["hook", "init"])
def test_every_container_that_talks_to_postgres_finds_the_ca_where_libpq_looks(
    helm: Helm, source: str, mode: str
) -> None:
    database = {"existingSecret": "db", "ca": {source: "my-ca", "key": "root.pem"}}
    values = {
        "migrations": {"mode": mode},
        "tests": {"enabled": False},
        "sessionRetention": {"enabled": True},
    }
    objects = helm.render({"database": database, **values})
    containers = 0
    for name, spec in pod_specs(objects):
        if name.endswith("-withdraw"):  # knows no database
            continue
        (volume,) = [v for v in spec["volumes"] if v["name"] == "database-ca"]
        found = volume["secret" if source == "secret" else "configMap"]
        assert found["items"] == [{"key": "root.pem", "path": "ca.crt"}], name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            (mount,) = [m for m in container["volumeMounts"] if m["name"] == "database-ca"]
            (variable,) = [v for v in container["env"] if v["name"] == "PGSSLROOTCERT"]
            assert variable["value"] == f"{mount['mountPath']}/ca.crt", name
            containers += 1
    assert containers == {"hook": 5, "init": 6}[mode]


def test_secrets_are_files_for_the_group_of_the_pod_alone(helm: Helm) -> None:
    for name, spec in pod_specs(helm.render()):
        for volume in spec["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["defaultMode"] == 0o440, name
                assert spec["securityContext"]["fsGroup"] == 10001, name


def test_every_folder_in_memory_or_on_the_nodes_disk_has_a_limit(helm: Helm) -> None:
    for name, spec in pod_specs(helm.render()):
        for volume in spec["volumes"]:
            assert "emptyDir" not in volume or volume["emptyDir"]["sizeLimit"], f"{name}: {volume['name']}"


def test_a_components_security_contexts_are_laid_over_those_of_all(helm: Helm) -> None:
    values = {
        **LEAST,
        "podSecurityContext": {"runAsUser": None},
        "operator": {"podSecurityContext": {"supplementalGroups": [7]}},
        "migrations": {"securityContext": {"runAsUser": 5}},
        "pools": {"default": {"securityContext": {"readOnlyRootFilesystem": False}}},
    }
    specs = dict(pod_specs(helm.render(values)))
    operator = specs["Deployment/agentjobs-operator"]["securityContext"]
    assert (operator["supplementalGroups"], operator["runAsGroup"]) == ([7], 10001)
    assert "runAsUser" not in operator
    worker = specs["Deployment/agentjobs-worker-default"]["containers"][0]["securityContext"]
    assert (worker["readOnlyRootFilesystem"], worker["runAsNonRoot"]) == (False, True)
    assert specs["Job/agentjobs-migrate"]["containers"][0]["securityContext"]["runAsUser"] == 5


def test_the_network_policies_open_what_the_values_name(helm: Helm) -> None:
    policies = {
        "enabled": True,
        "databasePorts": [6432],
        "operatorEgress": [{"ports": [{"port": 8443}]}],
        "tracesEgress": [{"ports": [{"port": 4318}]}],
        "migrationsEgress": [{"ports": [{"port": 6433}]}],
    }
    objects = helm.render({**LEAST, "networkPolicy": policies})

    def ports(name: str) -> set[int]:
        rules = pick(objects, "NetworkPolicy", name)["spec"]["egress"]
        return {port["port"] for rule in rules for port in rule["ports"]}

    assert ports("agentjobs-operator") == {53, 443, 4318, 5432, 6432, 6443, 8443}
    assert ports("agentjobs-migrate") == {53, 5432, 6432, 6433}
    assert ports("agentjobs-worker-default") == {53, 443, 4318, 5432, 6432}
    workers = json.dumps(pick(objects, "NetworkPolicy", "agentjobs-worker-default"))
    assert "::/0" in workers


def test_the_chart_has_a_page_for_helm_show_readme(helm: Helm) -> None:
    page = helm.run("show", "readme", str(CHART)).stdout
    assert "helm install agentjobs" in page


def test_the_grace_period_is_the_drain_and_ten_seconds(helm: Helm) -> None:
    objects = helm.render({**LEAST, "poolDefaults": {"drainSeconds": 45}})
    spec = pick(objects, "Deployment", "agentjobs-worker-default")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 55


@pytest.mark.parametrize(
    ("values", "jobs", "inits"),
    [
        ({**LEAST}, 1, 0),
        ({**LEAST, "migrations": {"mode": "init"}}, 0, 2),
        ({**LEAST, "migrations": {"mode": "off"}}, 0, 0),
        ({"devPostgres": {"enabled": True}}, 0, 2),
        ({"cloudnativepg": {"enabled": True}}, 0, 2),
        ({**LEAST, "operator": {"enabled": False}}, 0, 0),
    ],
)
def test_who_migrates(helm: Helm, values: dict[str, Any], jobs: int, inits: int) -> None:
    objects = helm.render(values)
    made = [o["metadata"]["name"] for o in objects if o["kind"] == "Job"]
    assert made.count("agentjobs-migrate") == jobs
    deployments = [o["spec"]["template"]["spec"] for o in objects if o["kind"] == "Deployment"]
    assert len([spec for spec in deployments if "initContainers" in spec]) == inits


def test_a_database_that_never_answers_fails_the_installation_before_helm_stops_waiting(helm: Helm) -> None:
    job = pick(helm.render(), "Job", "agentjobs-migrate")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    (waits,) = [int(a.partition("=")[2]) for a in container["args"] if a.startswith("--wait-seconds=")]
    pods = job["backoffLimit"] + 1
    between = sum(10 * 2**n for n in range(pods - 1))  # as Kubernetes' Job controller backs off
    start = 10
    assert pods * (start + waits) + between < 300, "helm install --timeout is 5m by default"
    assert job["activeDeadlineSeconds"] > 300, "a long migration is not killed under helm --timeout 30m"


def test_migrations_go_to_the_owners_url_or_past_the_pooler(helm: Helm) -> None:
    for keys, wanted in (
        ({"directUrl": "direct", "migrateUrl": "owner"}, "owner"),
        ({"directUrl": "direct"}, "direct"),
        ({}, "url"),
    ):
        values = {"database": {"existingSecret": "db", "keys": keys}}
        spec = pick(helm.render(values), "Job", "agentjobs-migrate")["spec"]["template"]["spec"]
        (secret,) = [v["secret"] for v in spec["volumes"] if "secret" in v]
        assert secret["items"] == [{"key": wanted, "path": "url"}]


def test_conversations_are_pruned_by_who_may_ask_for_jobs_and_remove_sessions(helm: Helm) -> None:
    keys = {"url": "worker", "directUrl": "direct", "sessionUrl": "sessions"}
    values = {
        "database": {"existingSecret": "db", "keys": keys},
        "sessionRetention": {"enabled": True, "idleDays": 9, "schedule": "0 1 * * 0"},
        "networkPolicy": {"enabled": True, "migrationsEgress": [{"ports": [{"port": 6433}]}]},
    }
    objects = helm.render(values)
    cron = pick(objects, "CronJob", "agentjobs-session-retention")["spec"]
    assert (cron["schedule"], cron["timeZone"], cron["concurrencyPolicy"]) == (
        "0 1 * * 0",
        "Etc/UTC",
        "Forbid",
    )
    spec = cron["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["args"] == ["sessions", "prune", "--idle-days=9"]
    (secret,) = [v["secret"] for v in spec["volumes"] if "secret" in v]
    assert secret["items"] == [{"key": "worker", "path": "url"}, {"key": "sessions", "path": "session-url"}]
    egress = pick(objects, "NetworkPolicy", "agentjobs-session-retention")["spec"]["egress"]
    assert {port["port"] for rule in egress for port in rule["ports"]} == {53, 5432, 6433}
    assert not [o for o in helm.render({**values, "sessionRetention": {}}) if o["kind"] == "CronJob"]


def granted(rules: list[Object]) -> set[tuple[str, str]]:
    return {(r, verb) for rule in rules for r in rule["resources"] for verb in rule["verbs"]}


@pytest.mark.parametrize("namespaces", [[], ["team-a", "team-b"]])
def test_the_operator_is_granted_what_is_documented_and_no_more(helm: Helm, namespaces: list[str]) -> None:
    off = {"web": {"enabled": False}}
    objects = helm.render({**LEAST, **off, "watchNamespaces": namespaces, "rbac": {"aggregate": False}})
    roles = [
        o
        for o in objects
        if o["kind"] in ("ClusterRole", "Role") and not o["metadata"]["name"].endswith("-registration")
    ]
    assert set().union(*(granted(role["rules"]) for role in roles)) == granted(documented())
    cluster_wide = granted(pick(objects, "ClusterRole", "agents-agentjobs-operator")["rules"])
    assert (cluster_wide == {("namespaces", "get")}) is bool(namespaces)
    assert [o["metadata"]["namespace"] for o in roles if o["kind"] == "Role"] == [*namespaces, "agents"]


@pytest.mark.parametrize("namespaces", [[], ["team-a"]])
def test_rights_and_bindings_fit_each_other(helm: Helm, namespaces: list[str]) -> None:
    objects = helm.render({**LEAST, "watchNamespaces": namespaces})
    of_kubernetes = {"extension-apiserver-authentication-reader", "system:auth-delegator"}
    for binding in [o for o in objects if o["kind"].endswith("RoleBinding")]:
        if binding["roleRef"]["name"] in of_kubernetes or binding["subjects"][0]["kind"] == "Group":
            continue
        role = pick(objects, binding["roleRef"]["kind"], binding["roleRef"]["name"])
        assert role["metadata"].get("namespace") == binding["metadata"].get("namespace")
        account = pick(objects, "ServiceAccount", binding["subjects"][0]["name"])
        assert account["metadata"]["namespace"] == binding["subjects"][0]["namespace"]


def test_people_who_edit_may_not_write_status(helm: Helm) -> None:
    objects = helm.render()
    edit = granted(pick(objects, "ClusterRole", "agents-agentjobs-edit")["rules"])
    assert {resource for resource, _ in edit} == {"agentjobs", "scheduledagentjobs"}
    view = granted(pick(objects, "ClusterRole", "agents-agentjobs-view")["rules"])
    assert {verb for _, verb in view} == {"get", "list", "watch"}


def test_selectors_never_contain_what_may_change(helm: Helm) -> None:
    for found in helm.render({**LEAST, "commonLabels": {"team": "a"}}):
        labels = json.dumps(
            found.get("spec", {}).get("selector", {}) if isinstance(found.get("spec"), dict) else {}
        )
        assert "version" not in labels
        assert "team" not in labels


def test_autoscaled_pools_leave_replicas_to_the_autoscaler(helm: Helm) -> None:
    for kind in ("hpa", "keda"):
        objects = helm.render({**LEAST, "poolDefaults": {"autoscaling": {"type": kind}}})
        assert "replicas" not in pick(objects, "Deployment", "agentjobs-worker-default")["spec"]


def test_two_releases_of_one_namespace_do_not_meet(helm: Helm) -> None:
    team = {**LEAST, "crds": {"enabled": False}, "operator": {"enabled": False}}
    first, second = helm.render(release="agentjobs"), helm.render(team, release="team")
    names = [{(o["kind"], o["metadata"]["name"]) for o in objects} for objects in (first, second)]
    assert not names[0] & names[1]
    workers = [pick(o, "Deployment", n)["spec"]["selector"]["matchLabels"] for o, n in (
        (first, "agentjobs-worker-default"), (second, "team-agentjobs-worker-default"),
    )]  # fmt: skip
    assert workers[0] != workers[1]


def test_two_operators_of_one_namespace_lead_by_leases_of_their_own(helm: Helm) -> None:
    leases = []
    for release in ("agentjobs", "staging"):
        objects = helm.render({**LEAST, "crds": {"enabled": release == "agentjobs"}}, release=release)
        full = "agentjobs" if release == "agentjobs" else "staging-agentjobs"
        lease = environment(objects, f"{full}-operator")["AGENTJOBS_LEASE_NAME"]
        role = pick(objects, "Role", f"{full}-operator-leader")
        assert [rule["resourceNames"] for rule in role["rules"] if "resourceNames" in rule] == [[lease]]
        leases.append(lease)
    assert leases == ["agentjobs-operator", "staging-agentjobs-operator"]


def test_approving_is_a_privilege_of_its_own_where_it_is_restricted(helm: Helm) -> None:
    assert not [o for o in helm.render() if o["kind"].startswith("ValidatingAdmission")]
    objects = helm.render({**LEAST, "approval": {"restrict": True}, "watchNamespaces": ["team-a"]})
    binding = pick(objects, "ValidatingAdmissionPolicyBinding")["spec"]
    assert binding["policyName"] == pick(objects, "ValidatingAdmissionPolicy")["metadata"]["name"]
    (watched,) = binding["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert watched["values"] == ["team-a"]
    approve = pick(objects, "ClusterRole", "agents-agentjobs-approve")
    assert ("agentjobs/approval", "update") in granted(approve["rules"])
    labels = approve["metadata"]["labels"]
    assert "rbac.authorization.k8s.io/aggregate-to-admin" in labels
    assert "rbac.authorization.k8s.io/aggregate-to-edit" not in labels


def runs_api_roles(objects: list[Object]) -> list[Object]:
    """The operator's, for the registration."""
    wanted = ("agents-agentjobs-web-registration", "agentjobs-web-registration")
    return [o for o in objects if o["kind"] in ("ClusterRole", "Role") and o["metadata"]["name"] in wanted]


def test_for_the_runs_api_the_operator_is_granted_what_is_documented_and_by_name(helm: Helm) -> None:
    roles = runs_api_roles(helm.render())
    assert set().union(*(granted(role["rules"]) for role in roles)) == granted(documented(RUNS_API))
    for rule in [rule for role in roles for rule in role["rules"]]:
        assert rule.get("resourceNames") or rule["verbs"] in (["create"], ["list"]), rule
    given = runs_api_roles(
        helm.render({**LEAST, "web": {"certificates": {"mode": "secret", "secret": "own"}}})
    )
    assert {verb for role in given for resource, verb in granted(role["rules"]) if resource == "secrets"} == {
        "get"
    }


@pytest.mark.parametrize(
    "values",
    [
        {"watchNamespaces": ["team-a"]},
        {"rbac": {"create": False}},
        {"watchNamespaces": ["team-a"], "web": {"enabled": False}},
        {"operator": {"enabled": False}},
    ],
)
def test_there_is_no_runs_api_where_it_is_off_or_its_rights_are_not_given(
    helm: Helm, values: dict[str, Any]
) -> None:
    text = helm.text({**LEAST, **values}, "--set", "crds.enabled=false")
    assert "agentjobs-web" not in text
    assert "runs.agentjobs.dev" not in text
    assert "RUNS_API" not in text


def test_where_it_is_switched_off_the_operator_takes_away_what_is_left_and_may_do_no_more(helm: Helm) -> None:
    objects = helm.render({**LEAST, "web": {"enabled": False}})
    told = settings_of(objects, "agentjobs-operator")
    assert (told.runs_api_off, told.runs_api_service) == (True, "agents/agentjobs-web")
    (role,) = runs_api_roles(objects)
    assert granted(role["rules"]) == {("apiservices", "get"), ("apiservices", "delete")}
    assert not [o for o in objects if o["metadata"]["name"] == "agentjobs-web"]


def test_the_runs_api_is_no_object_of_the_chart(helm: Helm) -> None:
    assert not [o for o in helm.render() if o["kind"] == "APIService"]


def test_the_operator_is_told_which_runs_api_to_register(helm: Helm) -> None:
    objects = helm.render()
    told = settings_of(objects, "agentjobs-operator")
    assert (told.runs_api_service, told.runs_api_secret) == ("agents/agentjobs-web", "agentjobs-web-tls")
    assert told.runs_api_certificates is True
    assert pick(objects, "Service", "agentjobs-web")["spec"]["ports"][0]["port"] == told.runs_api_port
    issuer = {"mode": "certManager", "issuerRef": {"name": "ca"}}
    objects = helm.render({**LEAST, "web": {"certificates": issuer}})
    assert settings_of(objects, "agentjobs-operator").runs_api_certificates is False
    made = pick(objects, "Certificate")["spec"]
    assert (made["secretName"], made["dnsNames"]) == ("agentjobs-web-tls", ["agentjobs-web.agents.svc"])


def test_before_an_uninstallation_the_registration_is_taken_away(helm: Helm) -> None:
    objects = helm.render()
    hook = pick(objects, "Job", "agentjobs-withdraw")
    assert hook["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    spec = hook["spec"]["template"]["spec"]
    account = pick(objects, "Deployment", "agentjobs-operator")["spec"]["template"]["spec"][
        "serviceAccountName"
    ]
    assert (spec["serviceAccountName"], spec["containers"][0]["args"]) == (account, ["withdraw"])
    assert {"name": "AGENTJOBS_RUNS_API_SERVICE", "value": "agents/agentjobs-web"} in spec["containers"][0][
        "env"
    ]


def test_two_pods_of_the_runs_api_stay_while_nodes_and_versions_change(helm: Helm) -> None:
    objects = helm.render()
    spec = pick(objects, "Deployment", "agentjobs-web")["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]["maxUnavailable"]) == (2, 0)
    assert spec["template"]["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    assert pick(objects, "PodDisruptionBudget", "agentjobs-web")["spec"]["minAvailable"] == 1
    ports = {
        port["name"]: port["containerPort"] for port in spec["template"]["spec"]["containers"][0]["ports"]
    }
    assert ports == {"https": 10250, "http": 8080}
    assert spec["template"]["spec"]["containers"][0]["readinessProbe"]["httpGet"]["port"] == "http"


def test_who_may_view_reads_no_output_result_or_conversation(helm: Helm) -> None:
    roles = {o["metadata"]["name"]: o for o in helm.render() if o["kind"] == "ClusterRole"}
    prefix, to = "agents-agentjobs-runs-", "rbac.authorization.k8s.io/aggregate-to-"
    texts = {"agentruns/artifacts", "agentruns/log", "agentruns/result", "agentruns/transcript"}
    reach: dict[str, set[tuple[str, str]]] = {"view": set(), "edit": set(), "admin": set()}
    for name, found in roles.items():
        for role in reach:
            if name.startswith(prefix) and f"{to}{role}" in found["metadata"]["labels"]:
                reach[role] |= granted(found["rules"])
    assert not {resource for resource, _ in reach["view"]} & texts
    assert {resource for resource, _ in reach["edit"]} >= texts
    assert {verb for _, verb in reach["view"]} == {"get", "list", "watch"}
    assert reach["admin"] - reach["edit"] == {("runaudits", "list"), ("erasures", "create")}
    assert ("runactions", "create") in reach["edit"]
    everybodys = {resource for role in reach.values() for resource, _ in role}
    assert "queueactions" not in everybodys
    assert granted(roles[f"{prefix}queues"]["rules"]) == {("queueactions", "create")}


def test_behind_an_ingress_the_dashboard_has_a_port_and_a_service_of_its_own(helm: Helm) -> None:
    assert "INGRESS" not in helm.text(LEAST, "--set", "crds.enabled=false")
    proxy = {
        "secret": {"name": "dashboard"}, "userHeader": "X-Auth-Request-Email", "groupsHeader": "X-Auth-Request-Groups",
        "userPrefix": "oidc:", "groupsPrefix": "oidc:",
    }  # fmt: skip
    ingress = {"enabled": True, "proxy": proxy, "token": {"secret": {"name": "other", "key": "t"}}}
    objects = helm.render({**LEAST, "web": {"ingress": ingress}})
    told = settings_of(objects, "agentjobs-web")
    assert (told.web_ingress_port, told.web_ingress_rights) == (8081, "rbac")
    assert (told.web_ingress_user_header, told.web_ingress_groups_header) == (
        "X-Auth-Request-Email", "X-Auth-Request-Groups",
    )  # fmt: skip
    assert told.web_ingress_user_prefix == told.web_ingress_groups_prefix == "oidc:"
    spec = pick(objects, "Deployment", "agentjobs-web")["spec"]["template"]["spec"]
    (volume,) = [one["projected"] for one in spec["volumes"] if one["name"] == "ingress"]
    files = {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in volume["sources"]
        for item in source["secret"]["items"]
    }
    assert files == {"proxy-secret": ("dashboard", "proxy-secret"), "token": ("other", "t")}
    variables = environment(objects, "agentjobs-web")
    for name in ("PROXY_SECRET", "TOKEN"):
        assert variables[f"AGENTJOBS_WEB_INGRESS_{name}_FILE"].rpartition("/")[2] in files
    ports = {port["name"]: port["containerPort"] for port in spec["containers"][0]["ports"]}
    assert ports["ingress"] == told.web_ingress_port
    service = pick(objects, "Service", "agentjobs-web-ingress")["spec"]
    assert service["ports"][0]["targetPort"] == "ingress"
    assert [port["name"] for port in pick(objects, "Service", "agentjobs-web")["spec"]["ports"]] == ["https"]


@pytest.mark.parametrize(
    ("values", "queue"),
    [
        ({}, "agents"),
        ({"tests": {"queue": "scheduled"}}, "scheduled"),
        (
            {"pools": {"default": None, "b": {"queues": {"z": {"slotsPerPod": 1}, "y": {"slotsPerPod": 1}}}}},
            "y",
        ),
        ({"pools": {"default": None}, "tests": {"queue": "of-another-release"}}, "of-another-release"),
        ({"pools": {"default": None}}, "agents"),
    ],
)
def test_helm_test_runs_in_a_queue_that_is_served(helm: Helm, values: dict[str, Any], queue: str) -> None:
    pod = pick(helm.render({**LEAST, **values}), "Pod", "agentjobs-test")["spec"]
    assert {"name": "TEST_QUEUE", "value": queue} in pod["containers"][0]["env"]
