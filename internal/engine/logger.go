package engine

import (
	"fmt"

	"github.com/rs/zerolog"
)

// Logger adapts zerolog to the SDK. What the SDK calls info is one line per
// saga, which is debug to an operator.
type Logger struct{ Log zerolog.Logger }

func (l Logger) Debug(v ...any)            { l.Log.Trace().Msg(fmt.Sprint(v...)) }
func (l Logger) Debugf(f string, v ...any) { l.Log.Trace().Msgf(f, v...) }
func (l Logger) Info(v ...any)             { l.Log.Debug().Msg(fmt.Sprint(v...)) }
func (l Logger) Infof(f string, v ...any)  { l.Log.Debug().Msgf(f, v...) }
func (l Logger) Warn(v ...any)             { l.Log.Warn().Msg(fmt.Sprint(v...)) }
func (l Logger) Warnf(f string, v ...any)  { l.Log.Warn().Msgf(f, v...) }
func (l Logger) Error(v ...any)            { l.Log.Error().Msg(fmt.Sprint(v...)) }
func (l Logger) Errorf(f string, v ...any) { l.Log.Error().Msgf(f, v...) }
