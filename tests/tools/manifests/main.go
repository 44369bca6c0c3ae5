// Command manifests reads Kubernetes manifests as strictly as an API server does: an unknown field, a field twice or a wrong type is an
// error. The pods that they make are held against the restricted Pod Security Standard. Of which Kubernetes, the go.mod says that it is
// built with.
//
//	manifests FILE...
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/policy"
)

func newDecoder() (runtime.Decoder, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{batchv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	options := json.SerializerOptions{Yaml: true, Strict: true}
	return json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme, scheme, options), nil
}

// checkFile checks each document of a file.
func checkFile(decoder runtime.Decoder, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	documents := yaml.NewYAMLReader(bufio.NewReader(file))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		object, _, err := decoder.Decode(document, nil, nil)
		if err != nil {
			return err
		}
		if err := checkPod(object); err != nil {
			return err
		}
	}
}

// checkPod checks the pods that an object makes, if it makes any.
func checkPod(object runtime.Object) error {
	var pod *corev1.PodTemplateSpec
	switch object := object.(type) {
	case *batchv1.CronJob:
		pod = &object.Spec.JobTemplate.Spec.Template
	case *batchv1.Job:
		pod = &object.Spec.Template
	case *corev1.ConfigMap, *corev1.Secret:
		return nil
	default:
		return fmt.Errorf("%T is of no kind that is looked into", object)
	}
	// The newest form of each check of the levels baseline and restricted.
	var results []policy.CheckResult
	for _, check := range policy.DefaultChecks() {
		newest := check.Versions[len(check.Versions)-1]
		results = append(results, newest.CheckPod(&pod.ObjectMeta, &pod.Spec))
	}
	if result := policy.AggregateCheckResults(results); !result.Allowed {
		return fmt.Errorf("the restricted Pod Security Standard refuses it: %s", result.ForbiddenDetail())
	}
	return nil
}

func main() {
	decoder, err := newDecoder()
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
	failed := len(os.Args) < 2
	for _, name := range os.Args[1:] {
		if err := checkFile(decoder, name); err != nil {
			fmt.Fprintf(os.Stderr, "manifests: %s: %v\n", name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
