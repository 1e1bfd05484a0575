//go:build hostile && !race

package hostile_test

const raceDetector = false
