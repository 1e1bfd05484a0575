package engine

import (
	"fmt"

	"github.com/dapr/durabletask-go/backend"
	"github.com/rs/zerolog"
)

// Logger adapts zerolog to the SDK. What the SDK calls info is one line per
// saga, which is debug to an operator.
func Logger(log zerolog.Logger) backend.Logger { return logger{log} }

type logger struct{ log zerolog.Logger }

func (l logger) Debug(v ...any)            { l.log.Trace().MsgFunc(func() string { return fmt.Sprint(v...) }) }
func (l logger) Debugf(f string, v ...any) { l.log.Trace().Msgf(f, v...) }
func (l logger) Info(v ...any)             { l.log.Debug().MsgFunc(func() string { return fmt.Sprint(v...) }) }
func (l logger) Infof(f string, v ...any)  { l.log.Debug().Msgf(f, v...) }
func (l logger) Warn(v ...any)             { l.log.Warn().MsgFunc(func() string { return fmt.Sprint(v...) }) }
func (l logger) Warnf(f string, v ...any)  { l.log.Warn().Msgf(f, v...) }
func (l logger) Error(v ...any)            { l.log.Error().MsgFunc(func() string { return fmt.Sprint(v...) }) }
func (l logger) Errorf(f string, v ...any) { l.log.Error().Msgf(f, v...) }
