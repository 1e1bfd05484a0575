package engine

import (
	"fmt"

	"github.com/dapr/durabletask-go/backend"
	"github.com/rs/zerolog"
)

// Logger returns an SDK logger that writes to log. The SDK's info level has one
// line per saga, so it is written at debug level, and debug at trace.
func Logger(log zerolog.Logger) backend.Logger { return logger{log: log} }

type logger struct{ log zerolog.Logger }

func (l logger) Debug(v ...any)            { l.log.Trace().MsgFunc(func() string { return fmt.Sprint(v...) }) }
func (l logger) Debugf(f string, v ...any) { l.log.Trace().Msgf(f, v...) }
func (l logger) Info(v ...any)             { l.log.Debug().MsgFunc(func() string { return fmt.Sprint(v...) }) }
func (l logger) Infof(f string, v ...any)  { l.log.Debug().Msgf(f, v...) }
func (l logger) Warn(v ...any)             { l.log.Warn().MsgFunc(func() string { return fmt.Sprint(v...) }) }
func (l logger) Warnf(f string, v ...any)  { l.log.Warn().Msgf(f, v...) }
func (l logger) Error(v ...any)            { l.log.Error().MsgFunc(func() string { return fmt.Sprint(v...) }) }
func (l logger) Errorf(f string, v ...any) { l.log.Error().Msgf(f, v...) }
