// Command simd runs the application that ibc-go tests itself with, as a chain of its own.
//
// ibc-go has that application as a library, without a command line. This adds the usual one: init,
// keys, genesis, start, query, tx and what the SDK's server brings. See README.md for what the
// chain can do.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	dbm "github.com/cosmos/cosmos-db"
	"github.com/spf13/cobra"

	"cosmossdk.io/log"

	cmtcfg "github.com/cometbft/cometbft/config"

	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/client/config"
	"github.com/cosmos/cosmos-sdk/client/flags"
	"github.com/cosmos/cosmos-sdk/client/keys"
	"github.com/cosmos/cosmos-sdk/client/rpc"
	"github.com/cosmos/cosmos-sdk/server"
	svrcmd "github.com/cosmos/cosmos-sdk/server/cmd"
	serverconfig "github.com/cosmos/cosmos-sdk/server/config"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"
	simtestutil "github.com/cosmos/cosmos-sdk/testutil/sims"
	authcmd "github.com/cosmos/cosmos-sdk/x/auth/client/cli"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	genutilcli "github.com/cosmos/cosmos-sdk/x/genutil/client/cli"

	"github.com/cosmos/ibc-go/v10/testing/simapp"
)

// envPrefix begins the environment variables that stand for flags: SIMD_HOME and so on.
const envPrefix = "SIMD"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	userHome, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	home := filepath.Join(userHome, ".simd")
	root, err := rootCommand(home)
	if err != nil {
		return err
	}
	return svrcmd.Execute(root, envPrefix, home)
}

// rootCommand is the whole command line. Codecs and modules are those of an application that runs
// on nothing and is thrown away.
func rootCommand(home string) (*cobra.Command, error) {
	scratch, err := os.MkdirTemp("", "simd")
	if err != nil {
		return nil, err
	}
	// Building an application opens its store of snapshots, even when it is never run.
	defer os.RemoveAll(scratch)
	app := newApp(log.NewNopLogger(), dbm.NewMemDB(), simtestutil.NewAppOptionsWithFlagHome(scratch))
	defer app.Close()

	clientCtx := client.Context{}.
		WithCodec(app.AppCodec()).
		WithInterfaceRegistry(app.InterfaceRegistry()).
		WithTxConfig(app.TxConfig()).
		WithLegacyAmino(app.LegacyAmino()).
		WithInput(os.Stdin).
		WithAccountRetriever(authtypes.AccountRetriever{}).
		WithHomeDir(home).
		WithViper(envPrefix)

	root := &cobra.Command{
		Use:           "simd",
		Short:         "A chain of ibc-go's test application",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(cmd.OutOrStdout())
			cmd.SetErr(cmd.ErrOrStderr())
			ctx, err := client.ReadPersistentCommandFlags(clientCtx.WithCmdContext(cmd.Context()), cmd.Flags())
			if err != nil {
				return err
			}
			if ctx, err = config.ReadFromClientConfig(ctx); err != nil {
				return err
			}
			if err := client.SetCmdClientContextHandler(ctx, cmd); err != nil {
				return err
			}
			appConfig := serverconfig.DefaultConfig()
			return server.InterceptConfigsPreRunHandler(cmd, serverconfig.DefaultConfigTemplate, appConfig, cmtcfg.DefaultConfig())
		},
	}
	root.AddCommand(
		genutilcli.InitCmd(app.BasicModuleManager, home),
		genutilcli.Commands(app.TxConfig(), app.BasicModuleManager, home),
		keys.Commands(),
		server.StatusCommand(),
		queryCommand(app),
		txCommand(app),
	)
	server.AddCommands(root, home, createApp, exportApp, func(*cobra.Command) {})
	return root, nil
}

func queryCommand(app *simapp.SimApp) *cobra.Command {
	cmd := &cobra.Command{Use: "query", Aliases: []string{"q"}, Short: "Ask a running chain", RunE: client.ValidateCmd}
	cmd.AddCommand(
		rpc.ValidatorCommand(),
		server.QueryBlockCmd(),
		server.QueryBlocksCmd(),
		server.QueryBlockResultsCmd(),
		authcmd.QueryTxCmd(),
		authcmd.QueryTxsByEventsCmd(),
	)
	app.BasicModuleManager.AddQueryCommands(cmd)
	cmd.PersistentFlags().String(flags.FlagChainID, "", "The chain's id")
	return cmd
}

func txCommand(app *simapp.SimApp) *cobra.Command {
	cmd := &cobra.Command{Use: "tx", Short: "Make, sign and send transactions", RunE: client.ValidateCmd}
	cmd.AddCommand(
		authcmd.GetSignCommand(),
		authcmd.GetEncodeCommand(),
		authcmd.GetDecodeCommand(),
		authcmd.GetBroadcastCommand(),
		authcmd.GetSimulateCmd(),
	)
	app.BasicModuleManager.AddTxCommands(cmd)
	cmd.PersistentFlags().String(flags.FlagChainID, "", "The chain's id")
	return cmd
}

// createApp is what `start` runs.
func createApp(logger log.Logger, db dbm.DB, _ io.Writer, options servertypes.AppOptions) servertypes.Application {
	return newApp(logger, db, options, server.DefaultBaseappOptions(options)...)
}

// exportApp stands for `export`: the test application cannot write its state as a genesis.
func exportApp(log.Logger, dbm.DB, io.Writer, int64, bool, []string, servertypes.AppOptions, []string) (servertypes.ExportedApp, error) {
	return servertypes.ExportedApp{}, errors.New("ibc-go's test application cannot export its state")
}
