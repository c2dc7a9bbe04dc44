package main

import (
	"slices"

	dbm "github.com/cosmos/cosmos-db"

	"cosmossdk.io/log/v2"

	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/runtime"
	servertypes "github.com/cosmos/cosmos-sdk/server/types"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/x/auth"
	"github.com/cosmos/cosmos-sdk/x/auth/ante"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authsims "github.com/cosmos/cosmos-sdk/x/auth/simulation"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/evidence"
	evidencekeeper "github.com/cosmos/cosmos-sdk/x/evidence/keeper"
	evidencetypes "github.com/cosmos/cosmos-sdk/x/evidence/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	feegrantkeeper "github.com/cosmos/cosmos-sdk/x/feegrant/keeper"
	feegrantmodule "github.com/cosmos/cosmos-sdk/x/feegrant/module"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"

	ibcante "github.com/cosmos/ibc-go/v11/modules/core/ante"
	"github.com/cosmos/ibc-go/v11/testing/simapp"
)

// newApp is ibc-go's test application with what a chain of the field has and it lacks: fees and
// grants of them, evidence against validators that sign twice, and unordered transactions.
func newApp(
	logger log.Logger, db dbm.DB, options servertypes.AppOptions, baseOptions ...func(*baseapp.BaseApp),
) *simapp.SimApp {
	// Nothing can be added once the store is loaded, so that comes last.
	app := simapp.NewSimApp(logger, db, nil, false, options, baseOptions...)
	keys := storetypes.NewKVStoreKeys(feegrant.StoreKey, evidencetypes.StoreKey)
	app.MountKVStores(keys)

	accounts := app.AccountKeeper
	authkeeper.WithUnorderedTransactions(true)(&accounts)
	// It forgets the unordered transactions whose time has passed, if its keeper allows any.
	app.ModuleManager.Modules[authtypes.ModuleName] = auth.NewAppModule(
		app.AppCodec(), accounts, authsims.RandomGenesisAccounts, nil)

	grants := feegrantkeeper.NewKeeper(
		app.AppCodec(), runtime.NewKVStoreService(keys[feegrant.StoreKey]), accounts).
		SetBankKeeper(app.BankKeeper)
	evidences := evidencekeeper.NewKeeper(
		app.AppCodec(), runtime.NewKVStoreService(keys[evidencetypes.StoreKey]),
		app.StakingKeeper, app.SlashingKeeper, accounts.AddressCodec(), runtime.ProvideCometInfoService())
	addModules(app,
		feegrantmodule.NewAppModule(app.AppCodec(), accounts, app.BankKeeper, grants, app.InterfaceRegistry()),
		evidence.NewAppModule(*evidences))

	app.SetAnteHandler(anteHandler(app, accounts, grants))
	if err := app.LoadLatestVersion(); err != nil {
		panic(err)
	}
	return app
}

// addModules does for further modules what NewSimApp does for its own.
func addModules(app *simapp.SimApp, modules ...module.AppModule) {
	manager := app.ModuleManager
	for _, added := range modules {
		name := added.Name()
		manager.Modules[name] = added
		manager.OrderInitGenesis = append(manager.OrderInitGenesis, name)
		manager.OrderExportGenesis = append(manager.OrderExportGenesis, name)
		manager.OrderEndBlockers = append(manager.OrderEndBlockers, name)
		// Evidence takes stake away before staking looks at what there is.
		staking := slices.Index(manager.OrderBeginBlockers, stakingtypes.ModuleName)
		manager.OrderBeginBlockers = slices.Insert(manager.OrderBeginBlockers, staking, name)
	}
	added := module.NewBasicManagerFromManager(module.NewManager(modules...), nil)
	added.RegisterLegacyAminoCodec(app.LegacyAmino())
	added.RegisterInterfaces(app.InterfaceRegistry())
	for name, basic := range added {
		app.BasicModuleManager[name] = basic
	}
	if err := module.NewManager(modules...).RegisterServices(app.Configurator()); err != nil {
		panic(err)
	}
}

// anteHandler is the SDK's own order of checks, with ibc-go's at the end: a transaction is refused
// when everything that it relays was relayed before.
func anteHandler(app *simapp.SimApp, accounts authkeeper.AccountKeeper, grants feegrantkeeper.Keeper) sdk.AnteHandler {
	return sdk.ChainAnteDecorators(
		ante.NewSetUpContextDecorator(),
		ante.NewExtensionOptionsDecorator(nil),
		ante.NewValidateBasicDecorator(),
		ante.NewTxTimeoutHeightDecorator(),
		ante.NewValidateMemoDecorator(accounts),
		ante.NewConsumeGasForTxSizeDecorator(accounts),
		ante.NewDeductFeeDecorator(accounts, app.BankKeeper, grants, nil),
		ante.NewSetPubKeyDecorator(accounts),
		ante.NewValidateSigCountDecorator(accounts),
		ante.NewSigGasConsumeDecorator(accounts, ante.DefaultSigVerificationGasConsumer),
		ante.NewSigVerificationDecorator(accounts, app.TxConfig().SignModeHandler()),
		ante.NewIncrementSequenceDecorator(accounts),
		ibcante.NewRedundantRelayDecorator(app.IBCKeeper),
	)
}
