//go:build tools

package prism

import _ "github.com/apache/beam/sdks/v2/go/cmd/prism"
