{{/* Something, where clients have to show a token. */}}
{{- define "tidecast.auth" -}}
{{- if or .Values.auth.jwksUrl .Values.auth.secret }}yes{{ end -}}
{{- end }}

{{/* Of a listener for clients. */}}
{{- define "tidecast.tls" -}}
{{- if .Values.tls.secret }}
tls_certfile = "/etc/tidecast-listeners/tls.crt"
tls_keyfile = "/etc/tidecast-listeners/tls.key"
{{- end }}
{{- end }}

{{/* What the chart itself says in tidecast.toml. */}}
{{- define "tidecast.settings" -}}
insecure_listeners = {{ .Values.insecureListeners | toJson }}

[kafka]
bootstrap_servers = {{ .Values.kafka.bootstrapServers | toJson }}
group_id = {{ .Values.kafka.groupId | toJson }}
exactly_once = {{ .Values.kafka.exactlyOnce }}
security_protocol = {{ .Values.kafka.securityProtocol | toJson }}
{{- with .Values.kafka.saslMechanism }}
sasl_mechanism = {{ . | toJson }}
{{- end }}
{{- if .Values.kafka.tlsSecret }}
ssl_cafile = "/etc/tidecast-tls/ca.crt"
{{- if .Values.kafka.clientCertificate }}
ssl_certfile = "/etc/tidecast-tls/tls.crt"
ssl_keyfile = "/etc/tidecast-tls/tls.key"
{{- end }}
{{- end }}

[topics]
partitions = {{ .Values.topics.partitions }}
replication = {{ .Values.topics.replication }}

[app]
host = "0.0.0.0"
port = 8000
{{- include "tidecast.tls" . }}

[websocket]
host = "0.0.0.0"
port = 8765
{{- include "tidecast.tls" . }}

[admin]
host = "0.0.0.0"
port = 8080
{{- if .Values.auth.publicMetrics }}
public_metrics = true
{{- end }}

[state]
dir = "/var/lib/tidecast"
standby = {{ .Values.state.standby }}
{{- with .Values.state.shared }}
shared = {{ . | toJson }}
{{- end }}

[telemetry]
log_level = {{ .Values.telemetry.logLevel | toJson }}
{{- with .Values.telemetry.otlpEndpoint }}
otlp_endpoint = {{ . | toJson }}
{{- end }}
{{- if include "tidecast.auth" . }}

[auth]
{{- with .Values.auth.jwksUrl }}
jwks_url = {{ . | toJson }}
{{- end }}
{{- if .Values.auth.secret }}
{{- if eq .Values.auth.secretKey "jwks.json" }}
jwks_file = "/etc/tidecast-auth/jwks.json"
{{- else if eq .Values.auth.secretKey "public.pem" }}
public_key_file = "/etc/tidecast-auth/public.pem"
{{- end }}
{{- end }}
{{- with .Values.auth.issuer }}
issuer = {{ . | toJson }}
{{- end }}
{{- with .Values.auth.audience }}
audience = {{ . | toJson }}
{{- end }}
{{- end }}
{{- end }}
