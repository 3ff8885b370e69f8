{{/*
One pod of either kind: (root, component, role, values). What differs is the role, the stable name that a worker takes for
its membership in the group, and where its state lies.
*/}}
{{- define "tidecast.pod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- /* The issuer's Secret is a variable or a file; a worker has no listener with TLS. */ -}}
{{- $shared := and $values.auth.secret (eq $values.auth.secretKey "hs256-secret") -}}
{{- $keys := and $values.auth.secret (not $shared) -}}
{{- $tls := and (eq .role "gateway") $values.tls.secret -}}
metadata:
  labels:
    {{- include "tidecast.labels" . | nindent 4 }}
  annotations:
    # A changed configuration is a changed pod.
    checksum/config: {{ include (print $root.Template.BasePath "/configmap.yaml") $root | sha256sum }}
    {{- with .values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  serviceAccountName: {{ include "tidecast.account" $root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # SIGTERM drains, flushes, commits and leaves in under 5 seconds.
  terminationGracePeriodSeconds: 15
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- with $values.imagePullSecrets }}
  imagePullSecrets: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.nodeSelector }}
  nodeSelector: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.tolerations }}
  tolerations: {{ toYaml . | nindent 4 }}
  {{- end }}
  {{- with .values.affinity }}
  affinity: {{ toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{ include "tidecast.selector" . | nindent 10 }}
  containers:
    - name: tidecast
      image: "{{ $values.image.repository }}:{{ $values.image.tag | default $root.Chart.AppVersion }}"
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: [run, --config, /etc/tidecast/tidecast.toml, --role, {{ .role }}]
      {{- if or (eq .role "worker") $values.kafka.saslSecret $shared }}
      env:
        {{- if eq .role "worker" }}
        # Static membership: a pod that comes back takes up its partitions at once.
        - name: STREAMING_KAFKA__GROUP_INSTANCE_ID
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        {{- end }}
        {{- with $values.kafka.saslSecret }}
        - name: KAFKA_SASL_USERNAME
          valueFrom: {secretKeyRef: {name: {{ . }}, key: username}}
        - name: KAFKA_SASL_PASSWORD
          valueFrom: {secretKeyRef: {name: {{ . }}, key: password}}
        {{- end }}
        {{- if $shared }}
        - name: STREAMING_AUTH__HS256_SECRET
          valueFrom: {secretKeyRef: {name: {{ $values.auth.secret }}, key: hs256-secret}}
        {{- end }}
      {{- end }}
      {{- $snapshots := and (eq .role "worker") $values.state.shared $values.state.secret }}
      {{- if or $snapshots $values.environmentSecret }}
      envFrom:
        {{- if $snapshots }}
        - secretRef: {name: {{ $values.state.secret }}}
        {{- end }}
        {{- with $values.environmentSecret }}
        - secretRef: {name: {{ . }}}
        {{- end }}
      {{- end }}
      ports:
        - {name: admin, containerPort: 8080}
        {{- if eq .role "gateway" }}
        - {name: app, containerPort: 8000}
        - {name: websocket, containerPort: 8765}
        {{- end }}
      startupProbe:
        httpGet: {path: /health/startup, port: admin}
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /health/live, port: admin}
        periodSeconds: 10
        timeoutSeconds: 3
      readinessProbe:
        httpGet: {path: /health/ready, port: admin}
        periodSeconds: 5
        timeoutSeconds: 3
      resources: {{ toYaml .values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: config, mountPath: /etc/tidecast, readOnly: true}
        - {name: state, mountPath: /var/lib/tidecast}
        - {name: tmp, mountPath: /tmp}
        {{- if $values.kafka.tlsSecret }}
        - {name: kafka-tls, mountPath: /etc/tidecast-tls, readOnly: true}
        {{- end }}
        {{- if $keys }}
        - {name: auth, mountPath: /etc/tidecast-auth, readOnly: true}
        {{- end }}
        {{- if $tls }}
        - {name: listeners-tls, mountPath: /etc/tidecast-listeners, readOnly: true}
        {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "tidecast.name" $root }}}
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- if or (ne .role "worker") (not $values.workers.persistence.enabled) }}
    - name: state
      emptyDir: {}
    {{- end }}
    {{- with $values.kafka.tlsSecret }}
    - name: kafka-tls
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- if $keys }}
    - name: auth
      secret: {secretName: {{ $values.auth.secret }}, defaultMode: 0440, items: [{key: {{ $values.auth.secretKey }}, path: {{ $values.auth.secretKey }}}]}
    {{- end }}
    {{- if $tls }}
    - name: listeners-tls
      secret: {secretName: {{ $values.tls.secret }}, defaultMode: 0440}
    {{- end }}
{{- end }}
