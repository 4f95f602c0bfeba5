// A model served by Node: every prediction is a span, every label an event, both as docs/semantic-conventions.md has them.
// Nothing here is ours: it is the OpenTelemetry SDK for JavaScript and the names of the contract.
import { readFileSync } from 'node:fs';
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { logs } from '@opentelemetry/api-logs';
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

const MODEL = process.env.MODEL ?? 'tips';
const VERSION = '1';

// The queue is for bursts: what does not fit is dropped by the SDK, and this example sends all its rows at once.
const queue = { maxQueueSize: 65536, maxExportBatchSize: 512 };
const resource = resourceFromAttributes({ 'service.name': process.env.OTEL_SERVICE_NAME ?? 'tips-javascript' });
const tracing = new NodeTracerProvider({
  resource,
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(), queue)],
});
tracing.register();
const logging = new LoggerProvider({
  resource,
  processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter(), ...queue })],
});
logs.setGlobalLoggerProvider(logging);

const tracer = trace.getTracer('otel-ml-example');
const events = logs.getLogger('otel-ml-example');

// A logistic regression, as good as any for the purpose.
const DISTRICTS = { centre: 0.2, north: -0.1, harbour: 0.1, east: -0.4 };
function score({ distance_km, hour, district, airport }) {
  const z = -0.8 + 0.12 * (distance_km ?? 3) + (hour >= 20 ? 0.5 : 0) + (airport ? 0.7 : 0) + DISTRICTS[district];
  return 1 / (1 + Math.exp(-z));
}

/** Predicts one ride, inside a span that tells all about it; the span's own id is the key for the label. */
function predict(ride) {
  const span = tracer.startSpan(`predict ${MODEL}`, { kind: SpanKind.INTERNAL });
  try {
    const probability = score(ride);
    const attributes = {
      'ml.model.name': MODEL,
      'ml.model.version': VERSION,
      'ml.model.task': 'binary_classification',
      'ml.prediction.class': probability >= 0.5 ? 'yes' : 'no',
      'ml.prediction.score': probability,
    };
    // A feature without a value is missing: undefined attributes are not sent.
    for (const [name, value] of Object.entries(ride)) attributes[`ml.feature.${name}`] = value;
    span.setAttributes(attributes);
    const { traceId, spanId } = span.spanContext();
    return `${traceId}:${spanId}`;
  } catch (error) {
    span.setAttributes({ 'ml.model.name': MODEL, 'ml.model.version': VERSION, 'error.type': error.name });
    span.setStatus({ code: SpanStatusCode.ERROR, message: error.message });
    throw error;
  } finally {
    span.end();
  }
}

/** Tells the truth about an earlier prediction, whenever it is known. */
function label(id, truth) {
  events.emit({
    eventName: 'ml.label',
    attributes: { 'ml.model.name': MODEL, 'ml.prediction.id': id, 'ml.label.class': truth },
  });
}

const [, ...lines] = readFileSync(process.argv[2] ?? '../rides.csv', 'utf8').trim().split('\n');
for (const line of lines) {
  const [distance_km, hour, district, airport, tipped] = line.split(',');
  const id = predict({
    distance_km: distance_km === '' ? undefined : Number(distance_km),
    hour: Number(hour),
    district,
    airport: airport === 'true',
  });
  label(id, tipped);
}
await tracing.shutdown();
await logging.shutdown();
console.log(`${lines.length} predictions and labels of model ${MODEL} sent`);
