// A model served by Go: every prediction is a span, every label a span below it, both as
// docs/semantic-conventions.md has them. Nothing here is ours: it is the OpenTelemetry SDK for Go and the names of the
// contract.
//
//	go run . ../rides.csv             one span a prediction
//	go run . -batch 100 ../rides.csv  one span for 100 predictions, with a list an attribute
package main

import (
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const version = "1"

var (
	model     = environment("MODEL", "tips")
	tracer    = otel.Tracer("otel-ml-example")
	districts = map[string]float64{"centre": 0.2, "north": -0.1, "harbour": 0.1, "east": -0.4}
)

// ride holds the features of one prediction, and what turned out to be true. A distance that is not known is NaN.
type ride struct {
	distanceKm float64
	hour       int
	district   string
	airport    bool
	tipped     string
}

// score is a logistic regression, as good as any for the purpose.
func score(r ride) float64 {
	z := -0.8 + districts[r.district]
	if math.IsNaN(r.distanceKm) {
		z += 0.12 * 3
	} else {
		z += 0.12 * r.distanceKm
	}
	if r.hour >= 20 {
		z += 0.5
	}
	if r.airport {
		z += 0.7
	}
	return 1 / (1 + math.Exp(-z))
}

func class(score float64) string {
	if score >= 0.5 {
		return "yes"
	}
	return "no"
}

func identity() trace.SpanStartEventOption {
	return trace.WithAttributes(
		attribute.String("ml.model.name", model),
		attribute.String("ml.model.version", version),
		attribute.String("ml.model.task", "binary_classification"),
	)
}

// predict scores one ride inside a span that tells all about it; the span's own id is the key for the label.
func predict(ctx context.Context, r ride) (context.Context, string) {
	ctx, span := tracer.Start(ctx, "predict "+model, identity())
	defer span.End()
	probability := score(r)
	span.SetAttributes(
		attribute.String("ml.prediction.class", class(probability)),
		attribute.Float64("ml.prediction.score", probability),
		attribute.Float64("ml.feature.distance_km", r.distanceKm), // NaN is missing
		attribute.Int("ml.feature.hour", r.hour),
		attribute.String("ml.feature.district", r.district),
		attribute.Bool("ml.feature.airport", r.airport),
	)
	return ctx, id(span)
}

// predictBatch scores many rides inside one span: every attribute is a list with a value a row.
func predictBatch(ctx context.Context, rides []ride) (context.Context, string) {
	ctx, span := tracer.Start(ctx, "predict "+model, identity())
	defer span.End()
	var scores, distances []float64
	var hours []int
	var classes, names []string
	var airports []bool
	for _, r := range rides {
		probability := score(r)
		scores = append(scores, probability)
		classes = append(classes, class(probability))
		distances = append(distances, r.distanceKm)
		hours = append(hours, r.hour)
		names = append(names, r.district)
		airports = append(airports, r.airport)
	}
	span.SetAttributes(
		attribute.Int("ml.prediction.rows", len(rides)),
		attribute.StringSlice("ml.prediction.class", classes),
		attribute.Float64Slice("ml.prediction.score", scores),
		attribute.Float64Slice("ml.feature.distance_km", distances),
		attribute.IntSlice("ml.feature.hour", hours),
		attribute.StringSlice("ml.feature.district", names),
		attribute.BoolSlice("ml.feature.airport", airports),
	)
	return ctx, id(span)
}

// label tells the truth about an earlier prediction, whenever it is known. As a child of the prediction's span it is
// sampled as that one was; without that context it works as well.
func label(ctx context.Context, id, truth string) {
	_, span := tracer.Start(ctx, "label "+model, trace.WithAttributes(
		attribute.String("ml.model.name", model),
		attribute.String("ml.prediction.id", id),
		attribute.String("ml.label.class", truth),
	))
	span.End()
}

func id(span trace.Span) string {
	context := span.SpanContext()
	return context.TraceID().String() + ":" + context.SpanID().String()
}

func main() {
	size := flag.Int("batch", 1, "rows a span")
	flag.Parse()
	if flag.NArg() != 1 || *size < 1 {
		log.Fatal("usage: predict [-batch ROWS] FILE")
	}
	rides, err := read(flag.Arg(0))
	if err != nil {
		log.Fatal(err)
	}

	ctx := context.Background()
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		log.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(
		// The queue is for bursts: what does not fit is dropped by the SDK, and this example sends all its rows at once.
		sdktrace.WithBatcher(exporter, sdktrace.WithMaxQueueSize(65536)),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", environment("OTEL_SERVICE_NAME", "tips-go")))),
	)
	otel.SetTracerProvider(provider)

	for start := 0; start < len(rides); start += *size {
		part := rides[start:min(start+*size, len(rides))]
		if *size == 1 {
			context, id := predict(ctx, part[0])
			label(context, id, part[0].tipped)
			continue
		}
		context, id := predictBatch(ctx, part)
		for row, r := range part {
			label(context, fmt.Sprintf("%s:%d", id, row), r.tipped)
		}
	}
	if err := provider.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d predictions and labels of model %s sent\n", len(rides), model)
}

func read(path string) ([]ride, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		return nil, err
	}
	var rides []ride
	for _, line := range lines[1:] {
		r := ride{distanceKm: math.NaN(), district: line[2], airport: line[3] == "true", tipped: line[4]}
		if line[0] != "" {
			if r.distanceKm, err = strconv.ParseFloat(line[0], 64); err != nil {
				return nil, err
			}
		}
		if r.hour, err = strconv.Atoi(line[1]); err != nil {
			return nil, err
		}
		rides = append(rides, r)
	}
	return rides, nil
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
