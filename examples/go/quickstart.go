// Trains a network on handwritten digits in Go, and prints how many of the images it has not seen it reads correctly.
// Calls the C functions through cgo.
//
//	CGO_CFLAGS=-Iinclude CGO_LDFLAGS="-Ltarget/release -levenkeel" go build -o quickstart examples/go/quickstart.go
//	LD_LIBRARY_PATH=target/release ./quickstart data/digits.csv [WEIGHTS [EPOCHS]]
//
// With a second argument it writes the trained weights to that file: the bytes of the quickstart in C.
package main

// #include <stdlib.h>
// #include "evenkeel.h"
import "C"

import (
	"encoding/csv"
	"fmt"
	"log"
	"os"
	"strconv"
	"unsafe"
)

const (
	layers  = 3
	tensors = 2 * layers
	batch   = 128
	seed    = 1
	pixels  = 64
)

var width = [layers + 1]C.size_t{pixels, 128, 128, 10}

// Every function reports this way: a status, and the reason in words.
func check(status C.ek_status) {
	if status != C.EK_STATUS_OK {
		log.Fatal(C.GoString(C.ek_last_error()))
	}
}

// A tensor in C's memory: lists of pointers go to C, which may not hold pointers to Go's.
type tensor []C.float

func floats(n C.size_t) tensor {
	return unsafe.Slice((*C.float)(C.calloc(n, 4)), n)
}

func (t tensor) ptr() *C.float {
	return &t[0]
}

// Images from -1 (paper) to 1 (ink), and what they show.
type digits struct {
	images [][pixels]C.float
	labels []C.int64_t
}

// Every fifth image is held out.
func load(path string) (training, heldOut digits) {
	file, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		log.Fatal(err)
	}
	for i, row := range rows {
		set := &training
		if i%5 == 4 {
			set = &heldOut
		}
		var image [pixels]C.float
		for j, text := range row {
			value, err := strconv.Atoi(text)
			if err != nil {
				log.Fatal(err)
			}
			if j < pixels {
				image[j] = C.float(value)/8 - 1
			} else {
				set.labels = append(set.labels, C.int64_t(value))
			}
		}
		set.images = append(set.images, image)
	}
	return training, heldOut
}

// Tensor 2*l holds the weights of layer l, tensor 2*l + 1 its biases.
type network struct {
	ctx          *C.ek_context
	sizes        [tensors]C.size_t
	params       [tensors]tensor
	lists        [4]**C.float // parameters, gradients, m, v
	grads        [tensors]tensor
	input, z, dz [layers]tensor
	logits       tensor
}

func newNetwork() *network {
	net := new(network)
	check(C.ek_context_create(nil, &net.ctx))
	for l := 0; l < layers; l++ {
		net.sizes[2*l], net.sizes[2*l+1] = width[l]*width[l+1], width[l+1]
		net.input[l], net.z[l], net.dz[l] = floats(batch*width[l]), floats(batch*width[l+1]), floats(batch*width[l+1])
	}
	net.logits = floats(batch * width[layers])
	for kind := range net.lists {
		net.lists[kind] = (**C.float)(C.calloc(tensors, C.size_t(unsafe.Sizeof(uintptr(0)))))
		list := unsafe.Slice(net.lists[kind], tensors)
		for i, size := range net.sizes {
			t := floats(size)
			list[i] = t.ptr()
			switch kind {
			case 0:
				net.params[i] = t
			case 1:
				net.grads[i] = t
			}
		}
	}
	for l := 0; l < layers; l++ {
		check(C.ek_init_he_f32(net.ctx, seed, C.uint64_t(l), C.EK_NORMAL, 0, width[l], net.sizes[2*l], net.params[2*l].ptr()))
	}
	return net
}

// z = x * W^T + bias, x of the next layer = silu(z); the last layer's z are the logits.
func (net *network) forward(n int) {
	for l := 0; l < layers; l++ {
		act, z, y := C.ek_activation(C.EK_ACTIVATION_IDENTITY), (*C.float)(nil), net.logits.ptr()
		if l < layers-1 {
			act, z, y = C.EK_ACTIVATION_SILU, net.z[l].ptr(), net.input[l+1].ptr()
		}
		check(C.ek_linear_forward_f32(net.ctx, act, 0, C.size_t(n), width[l], width[l+1], net.input[l].ptr(),
			net.params[2*l].ptr(), net.params[2*l+1].ptr(), z, y))
	}
}

// The loss of the batch, and from its gradient those of all parameters; also the sum of their squares.
func (net *network) backward(labels []C.int64_t) (loss, sumSq C.double) {
	n := C.size_t(len(labels))
	check(C.ek_cross_entropy_f32(net.ctx, 0, -1, 1, n, width[layers], net.logits.ptr(), &labels[0], nil, &loss,
		net.dz[layers-1].ptr()))
	for l := layers - 1; l >= 0; l-- {
		var part C.double
		check(C.ek_linear_backward_weight_f32(net.ctx, n, width[l], width[l+1], net.dz[l].ptr(), net.input[l].ptr(), false,
			net.grads[2*l].ptr(), net.grads[2*l+1].ptr(), &part))
		sumSq += part
		if l > 0 {
			check(C.ek_linear_backward_input_f32(net.ctx, C.EK_ACTIVATION_SILU, 0, n, width[l], width[l+1], net.dz[l].ptr(),
				net.params[2*l].ptr(), net.z[l-1].ptr(), net.dz[l-1].ptr()))
		}
	}
	return loss, sumSq
}

func (net *network) train(set digits, epochs int) {
	var clip C.ek_clip_options
	var adam C.ek_adam_options
	C.ek_clip_options_init(&clip)
	clip.mode, clip.threshold = C.EK_CLIP_GLOBAL_NORM, 1
	C.ek_adam_options_init(&adam)
	adam.lr = 3e-3
	order := make([]int, len(set.labels))
	for i := range order {
		order[i] = i
	}
	state := uint32(seed)
	for epoch := 1; epoch <= epochs; epoch++ {
		for n := len(order); n > 1; n-- {
			state = state*1664525 + 1013904223
			other := int(state>>8) % n
			order[n-1], order[other] = order[other], order[n-1]
		}
		var loss C.double
		for start := 0; start < len(order); start += batch {
			end := start + batch
			if end > len(order) {
				end = len(order)
			}
			var labels []C.int64_t
			for i, image := range order[start:end] {
				copy(net.input[0][i*pixels:], set.images[image][:])
				labels = append(labels, set.labels[image])
			}
			net.forward(len(labels))
			// The norm for clipping came with the gradients: the step reads them once.
			loss, clip.known_sum_sq = net.backward(labels)
			check(C.ek_clip_adam_f32(net.ctx, &clip, &adam, tensors, &net.sizes[0], net.lists[0], net.lists[1], net.lists[2],
				net.lists[3], nil))
			adam.step++
		}
		if epoch%5 == 0 {
			fmt.Printf("epoch %2d  loss %.4f\n", epoch, float64(loss))
		}
	}
}

func (net *network) accuracy(set digits) float64 {
	correct := 0
	for start := 0; start < len(set.labels); start += batch {
		n := 0
		for ; n < batch && start+n < len(set.labels); n++ {
			copy(net.input[0][n*pixels:], set.images[start+n][:])
		}
		net.forward(n)
		for i := 0; i < n; i++ {
			row, best := net.logits[10*i:10*i+10], 0
			for j := range row {
				if row[j] > row[best] {
					best = j
				}
			}
			if C.int64_t(best) == set.labels[start+i] {
				correct++
			}
		}
	}
	return float64(correct) / float64(len(set.labels))
}

func main() {
	arguments := append(os.Args[1:], []string{"data/digits.csv", "", "20"}[len(os.Args)-1:]...)
	training, heldOut := load(arguments[0])
	epochs, err := strconv.Atoi(arguments[2])
	if err != nil {
		log.Fatal(err)
	}
	net := newNetwork()
	fmt.Printf("evenkeel %s\n", C.GoString(C.ek_version_string()))
	net.train(training, epochs)
	fmt.Printf("held-out accuracy %.4f\n", net.accuracy(heldOut))
	if arguments[1] != "" {
		file, err := os.Create(arguments[1])
		if err != nil {
			log.Fatal(err)
		}
		for _, t := range net.params {
			if _, err := file.Write(C.GoBytes(unsafe.Pointer(t.ptr()), C.int(4*len(t)))); err != nil {
				log.Fatal(err)
			}
		}
		file.Close()
	}
	C.ek_context_destroy(net.ctx)
}
