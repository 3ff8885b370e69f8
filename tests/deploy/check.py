"""What is deployed: rules and their runbooks, the dashboard, compose, the image's root file system, the chart.

Run by tests/run with promtool and helm on PATH and PyYAML installed.
"""
import json, os, pathlib, re, shutil, subprocess, tempfile, tomllib, unittest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY, CHART = ROOT / "deploy", ROOT / "helm" / "tidecast"
SUFFIX = re.compile(r"_(bucket|sum|count)$")


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT, **options)


def exported():
    """Every name in quotes in the sources that could be a metric's."""
    names = set()
    for folder in ("src", "actors"):
        for file in (ROOT / folder).rglob("*.rs"):
            shipped = file.read_text().split("#[cfg(test)]")[0]
            names.update(re.findall(r'"([a-z][a-z0-9_]+)"', shipped))
    return names


def asked_for(expression):
    """The metrics that a PromQL expression names."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', " ", expression)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"[a-z][a-z0-9_]*(?!\w)(?!\s*\()", bare)
    return {SUFFIX.sub("", word) for word in words if "_" in word}


class Rules(unittest.TestCase):
    def setUp(self):
        rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
        self.alerts = [rule for group in rules["groups"] for rule in group["rules"]]

    def test_promtool_takes_them(self):
        checked = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", DEPLOY / "prometheus/alerts.yaml")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        checked = run("promtool", "check", "config", DEPLOY / "prometheus/prometheus.yaml")
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_each_fires_past_its_threshold_and_not_before(self):
        tested = run("promtool", "test", "rules", DEPLOY / "prometheus/alerts_test.yaml")
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)
        text = (DEPLOY / "prometheus/alerts_test.yaml").read_text()
        self.assertEqual([a["alert"] for a in self.alerts if a["alert"] not in text], [], "alerts without a test")

    def test_each_has_a_runbook_and_each_runbook_an_alert(self):
        pages = {page.name: page.read_text() for page in (DEPLOY / "runbooks").glob("*.md")}
        named = set()
        for alert in self.alerts:
            url = alert["annotations"].get("runbook_url", "")
            page = url.rsplit("/", 1)[-1]
            named.add(page)
            self.assertIn("/deploy/runbooks/", url, alert["alert"])
            self.assertIn(page, pages, alert["alert"])
            self.assertTrue(pages[page].startswith(f"# {alert['alert']}\n"), f"{page} is of another alert")
            for part in ("## What it means", "## Look closer", "## What to do"):
                self.assertIn(part, pages[page])
            self.assertEqual(set(alert["annotations"]), {"summary", "description", "runbook_url"})
            self.assertIn(alert["labels"]["severity"], ("warning", "critical"))
        self.assertEqual(named, set(pages), "runbooks of no alert")

    def test_thresholds_are_those_that_were_promised(self):
        promised = {
            "TidecastErrorRateHigh": ("> 0.05", "2m"), "TidecastLatencyHigh": ("> 1000", "5m"),
            "TidecastConsumerLagHigh": ("> 10000", "5m"), "TidecastInferenceFailing": ("> 0.1", "2m"),
            "TidecastWebSocketDropping": ("> 10", "2m"), "TidecastPublishFailing": ("< 0.95", "5m"),
            "TidecastPublishSlow": ("> 5", "10m"), "TidecastProducerDisconnected": ("== 0", "5m"),
        }
        found = {a["alert"]: (re.search(r"(?:[<>]|==) [0-9.]+$", a["expr"].strip()).group(), a["for"]) for a in self.alerts}
        self.assertEqual(found, promised)

    def test_only_metrics_that_exist(self):
        known = exported()
        for alert in self.alerts:
            names = asked_for(alert["expr"])
            self.assertTrue(names, alert["alert"])
            self.assertEqual(names - known, set(), alert["alert"])


class Dashboard(unittest.TestCase):
    def setUp(self):
        self.board = json.loads((DEPLOY / "grafana/dashboards/tidecast.json").read_text())
        self.panels = [panel for panel in self.board["panels"] if panel["type"] != "row"]

    def test_only_metrics_that_exist(self):
        known = exported()
        self.assertGreater(len(self.panels), 15)
        for panel in self.panels:
            for target in panel["targets"]:
                names = asked_for(target["expr"])
                self.assertTrue(names, panel["title"])
                self.assertEqual(names - known, set(), panel["title"])

    def test_every_panel_says_what_it_is(self):
        self.assertEqual([p["title"] for p in self.panels if not p.get("description")], [])
        self.assertEqual(len({p["id"] for p in self.board["panels"]}), len(self.board["panels"]))

    def test_what_is_alerted_on_is_shown(self):
        rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())
        alerted = {name for group in rules["groups"] for rule in group["rules"] for name in asked_for(rule["expr"])}
        shown = {name for panel in self.panels for target in panel["targets"] for name in asked_for(target["expr"])}
        self.assertEqual(alerted - shown, set())

    def test_runbooks_speak_of_panels_that_are_there(self):
        titles = {panel["title"] for panel in self.panels}
        for page in (DEPLOY / "runbooks").glob("*.md"):
            for named in re.findall(r'panel "([^"]+)"', page.read_text()):
                self.assertIn(named, titles, page.name)


class Compose(unittest.TestCase):
    def test_it_is_closed_but_for_loopback(self):
        compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
        for name, service in compose["services"].items():
            for port in service.get("ports", []):
                self.assertTrue(str(port).startswith("127.0.0.1:"), f"{name}: {port}")
        tidecast = compose["services"]["tidecast"]
        self.assertTrue(tidecast["read_only"])
        self.assertEqual(tidecast["cap_drop"], ["ALL"])
        self.assertNotIn("0", tidecast["user"].split(":"))
        for mount in (m for s in compose["services"].values() for m in s.get("volumes", []) if m.startswith("./")):
            self.assertTrue((DEPLOY / mount.split(":")[0]).exists(), mount)
        self.assertTrue((DEPLOY / tidecast["build"]["context"] / tidecast["build"]["dockerfile"]).exists())

    def test_the_collector_is_whole(self):
        config = yaml.safe_load((DEPLOY / "otel/collector.yaml").read_text())
        for pipeline in config["service"]["pipelines"].values():
            for kind in ("receivers", "processors", "exporters"):
                for name in pipeline[kind]:
                    self.assertIn(name, config[kind])


class Image(unittest.TestCase):
    def test_last_stage_is_small_and_not_root(self):
        text = (DEPLOY / "Containerfile").read_text()
        last = text[text.rindex("\nFROM "):]
        self.assertTrue(last.startswith("\nFROM scratch\n"))
        self.assertRegex(last, r"\nUSER [1-9][0-9]*:[1-9][0-9]*\n")
        self.assertIn("deploy/rootfs", text)

    @unittest.skipUnless(os.environ.get("TIDECAST_BIN") and os.geteuid() == 0, "needs the binary, and root to change the root")
    def test_the_binary_runs_in_the_root_file_system_of_the_image(self):
        folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        made = run(DEPLOY / "rootfs", os.environ["TIDECAST_BIN"], folder)
        self.assertEqual(made.returncode, 0, made.stderr)
        helped = run("chroot", "--userspec=65532:65532", folder, "/usr/bin/tidecast", "--help")
        self.assertEqual(helped.returncode, 0, helped.stdout + helped.stderr)
        self.assertIn("Usage", helped.stdout)
        there = {str(p.relative_to(folder)).split("/")[0] for p in folder.rglob("*")}
        self.assertLessEqual(there, {"usr", "etc", "lib", "lib64", "tmp", "var"})
        self.assertEqual(list(folder.rglob("bin/sh")), [], "no shell")


class Chart(unittest.TestCase):
    def render(self, *arguments):
        rendered = run("helm", "template", "demo", CHART, *arguments)
        self.assertEqual(rendered.returncode, 0, rendered.stderr)
        return {(d["kind"], d["metadata"]["name"]): d for d in yaml.safe_load_all(rendered.stdout) if d}

    def values(self, name):
        return ["-f", CHART / "ci" / f"{name}.yaml"]

    def pods(self, documents):
        return [d["spec"]["template"]["spec"] for (kind, _), d in documents.items() if kind in ("StatefulSet", "Deployment")]

    def text(self, documents):
        return documents["ConfigMap", "demo-tidecast"]["data"]["tidecast.toml"]

    def config(self, documents):
        return tomllib.loads(self.text(documents))

    def worker_and_gateway(self, documents):
        return [documents[kind]["spec"]["template"]["spec"]
                for kind in (("StatefulSet", "demo-tidecast-worker"), ("Deployment", "demo-tidecast-gateway"))]

    def test_it_lints(self):
        for file in sorted((CHART / "ci").glob("*.yaml")):
            linted = run("helm", "lint", "--strict", CHART, "-f", file)
            self.assertEqual(linted.returncode, 0, linted.stdout + linted.stderr)

    def test_workers_are_stateful_and_gateways_are_not(self):
        documents = self.render(*self.values("insecure"))
        kinds = sorted(kind for kind, _ in documents)
        self.assertEqual(kinds, ["ConfigMap", "Deployment", "PodDisruptionBudget", "PodDisruptionBudget", "Service", "Service",
                                 "Service", "ServiceAccount", "StatefulSet"])
        worker = documents["StatefulSet", "demo-tidecast-worker"]
        env = {e["name"]: e for e in worker["spec"]["template"]["spec"]["containers"][0]["env"]}
        field = env["STREAMING_KAFKA__GROUP_INSTANCE_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
        self.assertEqual(field, "metadata.name")
        self.assertEqual(worker["spec"]["volumeClaimTemplates"][0]["metadata"]["name"], "state")
        self.assertIn(("Service", worker["spec"]["serviceName"]), documents)
        gateway = documents["Deployment", "demo-tidecast-gateway"]["spec"]["template"]["spec"]["containers"][0]
        self.assertNotIn("env", gateway)
        self.assertEqual([gateway["args"][-1], worker["spec"]["template"]["spec"]["containers"][0]["args"][-1]], ["gateway", "worker"])

    def test_workers_alone_have_what_the_shared_state_asks_for(self):
        documents = self.render(*self.values("full"))
        config = self.config(documents)
        self.assertEqual(config["state"]["shared"], "s3://snapshots/tidecast")
        worker, gateway = [pod["containers"][0] for pod in self.worker_and_gateway(documents)]
        self.assertEqual(worker["envFrom"], [{"secretRef": {"name": "snapshots-user"}}])
        self.assertNotIn("envFrom", gateway)
        self.assertIs(config["state"]["standby"], False)
        by_role = self.render(*self.values("insecure"), "--set", "state.shared=s3://snapshots", "--set", "state.standby=true")
        self.assertIs(self.config(by_role)["state"]["standby"], True)
        worker = by_role["StatefulSet", "demo-tidecast-worker"]["spec"]["template"]["spec"]["containers"][0]
        self.assertNotIn("envFrom", worker)

    def test_no_pod_may_more_than_it_must(self):
        for name in ("insecure", "full", "guarded"):
            for pod in self.pods(self.render(*self.values(name))):
                (container,) = pod["containers"]
                self.assertTrue(pod["securityContext"]["runAsNonRoot"])
                self.assertFalse(pod["automountServiceAccountToken"])
                self.assertEqual(container["securityContext"], {
                    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    self.assertEqual(container[probe]["httpGet"]["port"], "admin")
                mounts = {m["name"] for m in container["volumeMounts"]}
                volumes = {v["name"] for v in pod["volumes"]}
                self.assertLessEqual(volumes, mounts)
                self.assertLessEqual(mounts - volumes, {"state"}, "only the claim of a worker comes from elsewhere")

    def test_services_and_budgets_select_the_pods_they_mean(self):
        documents = self.render(*self.values("full"))
        labels = {kind: d["spec"]["template"]["metadata"]["labels"] for (kind, _), d in documents.items()
                  if kind in ("StatefulSet", "Deployment")}
        ports = {kind: {p["name"] for p in d["spec"]["template"]["spec"]["containers"][0]["ports"]} for (kind, _), d in documents.items()
                 if kind in ("StatefulSet", "Deployment")}
        for (kind, name), document in documents.items():
            if kind in ("Service", "PodDisruptionBudget"):
                selector = document["spec"]["selector"]
                selector = selector.get("matchLabels", selector)
                chosen = [k for k, all_ in labels.items() if selector.items() <= all_.items()]
                self.assertEqual(len(chosen), 1, name)
                for port in document["spec"].get("ports", []):
                    self.assertIn(port["targetPort"], ports[chosen[0]], name)
        monitor = documents["ServiceMonitor", "demo-tidecast"]
        self.assertEqual(monitor["spec"]["endpoints"][0]["port"], "admin")

    def test_the_configuration_is_one_that_tidecast_takes(self):
        for name in ("insecure", "full", "guarded"):
            text = self.text(self.render(*self.values(name)))
            config = tomllib.loads(text)
            self.assertEqual({config[listener]["port"] for listener in ("app", "websocket", "admin")}, {8000, 8765, 8080})
            binary = os.environ.get("TIDECAST_BIN")
            if binary:
                with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
                    # No broker has that name here, so the check fails, but not for a setting.
                    file.write(text.replace("kafka:9092", "127.0.0.1:1").replace("/var/lib/tidecast", tempfile.gettempdir()))
                    file.flush()
                    nobody = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ALLOW_HTTP": "true"}
                    user = {"AWS_ACCESS_KEY_ID": "u", "AWS_SECRET_ACCESS_KEY": "p"} | (
                        {"KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p"} if "sasl_mechanism" in config["kafka"] else {})
                    said = run(binary, "check", "--config", file.name, timeout=60, env=nobody | user)
                    self.assertNotIn("unknown", (said.stdout + said.stderr).lower(), said.stdout + said.stderr)
                    self.assertIn("settings     ok", said.stdout, said.stderr)

    def test_with_tokens_no_listener_is_open(self):
        documents = self.render(*self.values("guarded"))
        config = self.config(documents)
        self.assertEqual(config["insecure_listeners"], [])
        self.assertEqual(config["auth"], {"issuer": "https://issuer.example", "audience": "tidecast",
                                          "public_key_file": "/etc/tidecast-auth/public.pem"})
        worker, gateway = self.worker_and_gateway(documents)
        mounts = lambda pod: {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        self.assertEqual({n: mounts(gateway)[n] for n in ("auth", "listeners-tls", "kafka-tls")},
                         {"auth": "/etc/tidecast-auth", "listeners-tls": "/etc/tidecast-listeners", "kafka-tls": "/etc/tidecast-tls"})
        self.assertIn("auth", mounts(worker), "its /metrics asks for a token, too")
        self.assertNotIn("listeners-tls", mounts(worker), "it has neither of these listeners")
        for pod in (worker, gateway):
            self.assertIn({"secretRef": {"name": "tidecast-secrets"}}, pod["containers"][0]["envFrom"])
        (endpoint,) = documents["ServiceMonitor", "demo-tidecast"]["spec"]["endpoints"]
        self.assertEqual(endpoint["authorization"], {"credentials": {"name": "prometheus-token", "key": "token"}})

    def test_a_shared_secret_is_in_no_file(self):
        documents = self.render(*self.values("guarded"), "--set", "auth.secretKey=hs256-secret")
        for pod in self.pods(documents):
            env = {e["name"]: e for e in pod["containers"][0]["env"]}
            self.assertEqual(env["STREAMING_AUTH__HS256_SECRET"]["valueFrom"]["secretKeyRef"], {"name": "issuer-keys", "key": "hs256-secret"})
            self.assertNotIn("auth", {v["name"] for v in pod["volumes"]})

    def test_what_config_adds_to_a_section_of_the_chart_is_in_it(self):
        config = self.config(self.render(*self.values("guarded")))
        self.assertEqual((config["websocket"]["port"], config["websocket"]["compression"]), (8765, True))
        self.assertEqual([series["name"] for series in config["series"]], ["departures"])
        for more, named in {'[kafka]\ngroup_id = "x"': "kafka.group_id", "insecure_listeners = []": "insecure_listeners",
                            "[kafka": "no TOML"}.items():
            with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
                file.write(more)
                file.flush()
                refused = run("helm", "template", "demo", CHART, *self.values("insecure"), "--set-file", f"config={file.name}")
            self.assertNotEqual(refused.returncode, 0, more)
            self.assertIn(named, refused.stderr, more)

    def test_a_broker_s_authority_needs_no_certificate_of_ours(self):
        documents = self.render(*self.values("guarded"), "--set", "kafka.clientCertificate=false")
        kafka = self.config(documents)["kafka"]
        self.assertEqual({name for name in kafka if name.startswith("ssl_")}, {"ssl_cafile"})

    def test_wrong_values_are_refused_before_anything_is_made(self):
        wrong = {
            "kafka.bootstrapServers=null": "bootstrapServers", "workers.replicas=-1": "replicas", "workers.replicaz=2": "replicaz",
            "kafka.securityProtocol=TLS": "securityProtocol", "kafka.securityProtocol=SASL_SSL": "sasl",
            "insecureListeners={app}": "websocket listener", "topics.partitions=0": "partitions", "telemetry.logLevel=loud": "logLevel",
            "state.shared=gs://snapshots": "shared", "state.shared=s3://snapshots/a b": "shared",
            "kafka.clientCertificate=true": "tlsSecret", "auth.secretKey=key": "secretKey",
        }
        for setting, named in wrong.items():
            refused = run("helm", "template", "demo", CHART, *self.values("insecure"), "--set", setting)
            self.assertNotEqual(refused.returncode, 0, setting)
            self.assertIn(named, refused.stderr, setting)


if __name__ == "__main__":
    unittest.main()
